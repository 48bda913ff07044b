package lifecycle

// InRoot is where everything that `cp` does in a container's root is done.
var InRoot = (*Containers).inRoot
