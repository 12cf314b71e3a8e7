// Package compare measures the storages of package paxos side by side, in one run: package wal, the adapters, pebble by
// itself, and the bare disk.
//
//	go test -run '^$' -bench Save -benchtime 1x .
package compare
