package api

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// peerContext is the context of the requests of a connection, with the name of its
// user where that is known.
func peerContext(ctx context.Context, c net.Conn) context.Context {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	cred, err := credentials(uc)
	if err != nil {
		return ctx
	}
	return AsUser(ctx, peerName(cred.Uid, loginOf(cred.Pid)))
}

// credentials are those of the process at the other end when it connected
// (SO_PEERCRED).
func credentials(c *net.UnixConn) (cred *syscall.Ucred, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	ctl := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if ctl != nil {
		return nil, ctl
	}
	return cred, err
}

// noLogin is the login of a process that nobody logged in for ((uid_t)-1).
const noLogin = 1<<32 - 1

// loginOf is the user who logged in and, by whatever sudo or su, came to run the
// process: the kernel's audit keeps it.
func loginOf(pid int32) uint32 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", pid))
	if err != nil { // the process is gone, or the kernel has no audit
		return noLogin
	}
	uid, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return noLogin
	}
	return uint32(uid)
}

// peerName names a user, and who logged in where that is somebody else.
func peerName(uid, login uint32) string {
	if login == noLogin || login == uid {
		return userName(uid)
	}
	return fmt.Sprintf("%s as %s", userName(login), userName(uid))
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	u, err := user.LookupId(id)
	if err != nil {
		return "user " + id
	}
	return u.Username
}
