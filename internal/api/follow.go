package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Follow calls each for every event after the one with that number, those that
// are kept and those to come, until ctx ends or the connection does. The end of
// the connection is an error that wraps [ErrUnreachable]; whoever wants to go on
// calls Follow again with the number of the last event seen.
func (c *Client) Follow(ctx context.Context, after uint64, each func(Event)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://baton/api/v1/stream", nil)
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Last-Event-ID", strconv.FormatUint(after, 10))
	resp, err := c.do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20) // one event is a line; the scanner's own limit is 64 KiB
	kind := ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "":
			// The end of a message, or a comment.
			if lines.Text() == "" {
				kind = ""
			}
		case "event":
			kind = value
		case "data":
			if kind != "" {
				continue // not for us: only messages without a name are events
			}
			var e Event
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				return fmt.Errorf("an event of the daemon at %s is not understood: %w", c.socket, err)
			}
			each(e)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := lines.Err(); err != nil {
		return c.broken(ctx, err)
	}
	return fmt.Errorf("%w at %s: it ended the stream of events", ErrUnreachable, c.socket)
}
