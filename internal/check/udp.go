package check

import (
	"bytes"
	"context"
	"errors"
)

// probeUDP sends one datagram. Without an answer that has to come it waits for a
// refusal until its time is up: hosts report closed ports at leisure, and some not
// at all.
func probeUDP(ctx context.Context, s Spec) (Code, string, error) {
	u := s.UDP
	d, err := dialUDP(ctx, s)
	if err != nil {
		return "", "", err
	}
	defer d.close()
	err = d.ask([]byte(u.Send), func(reply []byte) (bool, error) {
		if !bytes.HasPrefix(reply, []byte(u.Expect)) {
			return true, failf(L7RSP, "%s answered %s, expected %s", s.Target, quote(reply), quote([]byte(u.Expect)))
		}
		return true, nil
	})
	var f *failure
	switch {
	case err == nil && u.Expect != "":
		return L7OK, s.Target.String() + " answered as expected", nil
	case err == nil:
		return L7OK, s.Target.String() + " answered", nil
	case errors.As(err, &f) && f.code == L7TOUT && u.Expect == "" && !u.RequireReply:
		return L4OK, s.Target.String() + " did not refuse the datagram within " + span(s.Timeout), nil
	}
	return "", "", err
}
