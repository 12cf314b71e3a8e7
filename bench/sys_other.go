//go:build !linux

package main

import (
	"os"
	"runtime"
)

// cpuTimes are CPU seconds: of the whole machine, and of this process. They are known on linux only.
type cpuTimes struct{ busy, own float64 }

func readCPU() cpuTimes { return cpuTimes{} }

func settle() {}

// reserved makes a file.
func reserved(name string, _ int64, _ bool) (*os.File, error) { return os.Create(name) }

func datasync(f *os.File) error { return f.Sync() }

func machineFacts(string) []string { return []string{runtime.GOOS} }
