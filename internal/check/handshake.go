package check

import "context"

// probeTLS makes a TLS handshake and nothing more: the check for a server whose
// protocol is not known here.
func probeTLS(ctx context.Context, s Spec) (code Code, detail string, err error) {
	c, err := dial(ctx, s, s.Target)
	if err != nil {
		return "", "", err
	}
	defer func() { c.end(err) }()
	if err := c.startTLS(s.TLS, s.serverName()); err != nil {
		return "", "", err
	}
	return L6OK, "TLS established with " + s.Target.String(), nil
}

// serverName is the name that a certificate has to have where the check does not
// say one: the target's address.
func (s Spec) serverName() string { return s.Target.Addr().WithZone("").String() }
