package program

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"sync"
	"syscall"
)

// account is who a program runs as.
type account struct {
	name, home string
	cred       *syscall.Credential // nil: our own
}

// ourselves is the account of this process.
var ourselves = sync.OnceValue(func() account {
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return account{home: "/"}
	}
	return account{name: u.Username, home: u.HomeDir}
})

// accountOf finds the account of a user, by name or number, with all its groups.
// It is looked up at each run, so that changed groups need no reload.
func accountOf(name string) (account, error) {
	if name == "" {
		return ourselves(), nil
	}
	u, err := user.Lookup(name)
	if _, number := strconv.ParseUint(name, 10, 32); err != nil && number == nil {
		u, err = user.LookupId(name)
	}
	var unknown user.UnknownUserError
	var unknownID user.UnknownUserIdError
	if errors.As(err, &unknown) || errors.As(err, &unknownID) {
		return account{}, fmt.Errorf("there is no user %s in /etc/passwd", name)
	}
	if err != nil {
		return account{}, fmt.Errorf("cannot look up the user %s: %w", name, cause(err))
	}
	return newAccount(u)
}

func newAccount(u *user.User) (account, error) {
	list, err := u.GroupIds()
	if err != nil {
		return account{}, fmt.Errorf("cannot look up the groups of %s: %w", u.Username, cause(err))
	}
	ids := make([]uint32, 0, len(list)+2)
	for _, text := range append([]string{u.Uid, u.Gid}, list...) {
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return account{}, fmt.Errorf("the user %s has the strange ID %q", u.Username, text)
		}
		ids = append(ids, uint32(id))
	}
	a := account{name: u.Username, home: u.HomeDir}
	if int(ids[0]) != os.Geteuid() || os.Geteuid() == 0 {
		a.cred = &syscall.Credential{Uid: ids[0], Gid: ids[1], Groups: ids[2:]}
	}
	return a, nil
}

// environment is all that the program finds: a daemon's own may hold secrets and
// differs from one start to the next.
func (a account) environment() []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "SHELL=/bin/sh", "HOME=" + a.home}
	if a.name != "" {
		env = append(env, "USER="+a.name, "LOGNAME="+a.name)
	}
	return env
}
