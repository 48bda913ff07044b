package main

import "golang.org/x/sys/unix"

// legacy are calls that newer architectures don't have; C programs still make
// them on this one.
func legacy() map[uint64]string {
	return map[uint64]string{
		unix.SYS_MKDIR: "mkdir", unix.SYS_RMDIR: "rmdir", unix.SYS_UNLINK: "unlink", unix.SYS_RENAME: "rename", unix.SYS_LINK: "link",
		unix.SYS_SYMLINK: "symlink", unix.SYS_CREAT: "creat", unix.SYS_CHMOD: "chmod", unix.SYS_CHOWN: "chown", unix.SYS_FORK: "fork", unix.SYS_VFORK: "vfork",
	}
}
