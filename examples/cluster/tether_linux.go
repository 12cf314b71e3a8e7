package main

import "syscall"

// tethered has the kernel kill a child whose parent dies, also one that is paused and so can't notice by itself. The
// parent's death is that of the thread which started the child; Go ends none before the process.
func tethered() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
