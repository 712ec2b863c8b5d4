package vrrp

import (
	"errors"
	"fmt"
)

// Auth is how adverts prove that they come from a peer. The zero value: not at
// all. A password and keys exclude each other.
type Auth struct {
	// Password is the simple password of version 2 (RFC 2338 section 5.3.6), at most
	// 8 bytes; it crosses the network in clear text.
	Password Secret `json:",omitempty"`
	// Keys are those of the HMAC trailer (draft-cassen-vrrp-auth-hmac). Adverts are
	// sent with the first one and accepted with any, so that keys can be replaced
	// one director at a time. The draft's second version describes version 3 alone;
	// keepalived has the trailer with version 2, too, and so has this package.
	Keys []Key `json:",omitempty"`
}

// Key is one key of the HMAC trailer.
type Key struct {
	ID     uint8  // 1–255, unique among the keys
	Secret Secret // 32–64 bytes
}

// Bounds of [Key.Secret], as keepalived has them: an HMAC with SHA-256 gains
// nothing from more than its block of 64 bytes.
const (
	MinKeyLen = 32
	MaxKeyLen = 64
)

func (a Auth) check(version uint8) error {
	switch {
	case len(a.Password) > 0 && len(a.Keys) > 0:
		return errors.New("a password and HMAC keys exclude each other; leave the password out")
	case len(a.Password) > 0 && version != version2:
		return fmt.Errorf("version %d has no password; use an HMAC key", version)
	case len(a.Password) > authDataLen:
		return fmt.Errorf("the password has %d bytes, the packet has room for %d; keepalived uses the first %d of a longer one",
			len(a.Password), authDataLen, authDataLen)
	}
	var seen [256]bool
	for _, k := range a.Keys {
		switch {
		case k.ID == 0:
			return errors.New("HMAC key id 0: it must be 1–255")
		case seen[k.ID]:
			return fmt.Errorf("HMAC key id %d: two keys have it; number them differently", k.ID)
		case len(k.Secret) < MinKeyLen || len(k.Secret) > MaxKeyLen:
			return fmt.Errorf("HMAC key %d has %d bytes: it must have %d–%d; make one with openssl rand",
				k.ID, len(k.Secret), MinKeyLen, MaxKeyLen)
		}
		seen[k.ID] = true
	}
	return nil
}

// Secret is key material. It is never printed.
type Secret []byte

// Format hides the secret, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "(secret)") }

// String hides the secret.
func (Secret) String() string { return "(secret)" }
