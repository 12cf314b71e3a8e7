//go:build !linux

package main

import "syscall"

// tethered returns nothing: a child notices that its parent is gone by the end of its standard input.
func tethered() *syscall.SysProcAttr { return nil }
