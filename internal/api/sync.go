package api

import "fmt"

// explain says in words what the connection sync daemon does for a router.
func (c ConnectionSync) explain() string {
	does := fmt.Sprintf("The connection sync daemon is not running on %s.", c.Interface)
	switch c.Role {
	case "master":
		does = fmt.Sprintf("It tells the other directors of its connections on %s (id %d).", c.Interface, c.ID)
	case "backup":
		does = fmt.Sprintf("It takes over the owner's connections from %s (id %d).", c.Interface, c.ID)
	}
	if c.Problem != "" {
		return does + " Connections are not synchronised: " + c.Problem
	}
	return does
}
