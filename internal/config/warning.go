package config

// Warning is a place in a valid file that its author should look at again: what
// stands there works, but probably not as was meant, or not safely.
type Warning Error

// String returns "file:line:column: message".
func (w Warning) String() string { return Error(w).Error() }
