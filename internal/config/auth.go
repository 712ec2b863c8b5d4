package config

import (
	"bytes"
	"encoding/hex"

	"baton/internal/vrrp"
)

// Keys are as long as draft-cassen-vrrp-auth-hmac allows, passwords as long as
// their field in the packet (RFC 2338 section 5.3.10).
const (
	minKey      = 32
	maxKey      = 64
	maxPassword = 8
)

// buildAuth reads the secrets of a router. What the defaults have for the other
// version is left out.
func (b *builder) buildAuth(r *router) {
	a := &r.Auth.v
	hmac := len(a.HMAC.items) > 0
	switch r.version() {
	case version3:
		if a.PasswordFile.ok() && a.PasswordFile.own {
			b.add(a.PasswordFile.at, "password_file: version 3 has no password; use hmac, or version: 2")
		}
		r.out.Auth.Keys = b.keysOf(&a.HMAC)
	case version2:
		if hmac && a.HMAC.own {
			b.add(a.HMAC.at, "hmac: it is for version 3; version 2 has password_file alone")
		}
		r.out.Auth.Password = b.passwordOf(&a.PasswordFile)
		if hmac && !a.HMAC.own && !a.PasswordFile.set {
			b.warn(r.Version.at, "version: the hmac of the defaults at %s is for version 3, so the adverts of router %q prove nothing", a.HMAC.at, r.Name.v)
		}
	}
}

func (b *builder) keysOf(list *some[block[rawHMAC]]) []vrrp.Key {
	var keys []vrrp.Key
	seen := make(map[number]pos)
	for i := range list.items {
		raw := &list.items[i]
		id, file := &raw.v.KeyID, &raw.v.KeyFile
		if !raw.bad && id.ok() {
			if first, twice := seen[id.v]; twice {
				b.add(id.at, "key_id: %d is given twice; first at %s", id.v, first)
			} else {
				seen[id.v] = id.at
			}
		}
		if raw.bad || !file.ok() {
			continue
		}
		if secret, ok := b.keyOf(file); ok {
			keys = append(keys, vrrp.Key{ID: uint8(id.v), Secret: secret})
		}
	}
	return keys
}

// keyOf reads a key in the form of keepalived's key files: "hex:" and digits, or
// the characters themselves.
func (b *builder) keyOf(file *value[secretPath]) (vrrp.Secret, bool) {
	key, ok := b.secret("key_file", file)
	if !ok {
		return nil, false
	}
	if digits, isHex := bytes.CutPrefix(key, []byte("hex:")); isHex {
		key = make([]byte, hex.DecodedLen(len(digits)))
		if _, err := hex.Decode(key, digits); err != nil {
			b.add(file.at, "key_file: what follows hex: in %s is not pairs of hexadecimal digits", file.v)
			return nil, false
		}
	} else if !isPrintable(key) {
		b.add(file.at, "key_file: %s is not one line of printable ASCII; write a binary key as hex: and its digits", file.v)
		return nil, false
	}
	if len(key) < minKey || len(key) > maxKey {
		b.add(file.at, "key_file: the key in %s has %d bytes; allowed: %d to %d; for a new one: echo hex:$(openssl rand -hex 32)", file.v, len(key), minKey, maxKey)
		return nil, false
	}
	return key, true
}

func (b *builder) passwordOf(file *value[secretPath]) vrrp.Secret {
	if !file.ok() {
		return nil
	}
	b.warn(file.at, "password_file: the password crosses the network in clear text with each advert; it keeps strays apart, not attackers; version: 3 has hmac")
	password, ok := b.secret("password_file", file)
	switch {
	case !ok:
	case len(password) == 0:
		b.add(file.at, "password_file: %s is empty", file.v)
	case !isPrintable(password):
		b.add(file.at, "password_file: %s is not one line of printable ASCII", file.v)
	case len(password) > maxPassword:
		b.add(file.at, "password_file: the password in %s has %d bytes, of which only the first %d count; shorten it", file.v, len(password), maxPassword)
	default:
		return password
	}
	return nil
}

func isPrintable(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' || r > '~' })
}
