package ipvs

import (
	"context"
	"fmt"

	"github.com/mdlayher/netlink"
)

// ownConfig reads and writes the timeouts without moby/ipvs, for a process in
// which that library is stuck with an old number of the family (D2).
type ownConfig struct {
	ctx context.Context
	c   *conn
}

func (o ownConfig) timeouts() (Timeouts, error) {
	answers, err := o.c.ask(o.ctx, cmdGetConfig, 0, nil)
	if err != nil {
		return Timeouts{}, err
	}
	if len(answers) != 1 {
		return Timeouts{}, fmt.Errorf("%w: %d answers", errForm, len(answers))
	}
	return decodeTimeouts(answers[0].Data)
}

func (o ownConfig) setTimeouts(t Timeouts) error {
	_, err := o.c.ask(o.ctx, cmdSetConfig, netlink.Acknowledge, encodeTimeouts(t))
	return err
}
