package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
)

// The floors are what disk and wire can do without any library: nobody who answers after an fsync and a round trip is faster.
func floorContestants() []contestant {
	at := func(callers int) func(work) bool {
		return func(w work) bool { return w.Floor && w.Callers == callers }
	}
	return []contestant{
		{name: "fdatasync", start: startLogs, at: at(1)},
		{name: floorDisk3, start: startLogs, at: at(3)},
		{name: floorWire, start: startEcho, at: at(1)},
	}
}

const (
	floorDisk3 = "fdatasync, three logs at once"
	floorWire  = "loopback round trip"
)

// rawLogs are files filled with zeros, one a caller, to which a caller appends and waits for the disk.
type rawLogs struct {
	files []*os.File
	ends  []int64
	value []byte
}

// rawLogBytes is how much of a file is written before it begins anew.
const rawLogBytes = 64 << 20

func startLogs(s setup) (cluster, error) {
	c := &rawLogs{ends: make([]int64, s.Callers), value: []byte(valuesFor(1, s.Value)[0])}
	for i := range s.Callers {
		f, err := os.Create(filepath.Join(s.dir, fmt.Sprint(i)))
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, f)
		zeros := make([]byte, 1<<20)
		for range rawLogBytes / len(zeros) {
			if _, err := f.Write(zeros); err != nil {
				return nil, err
			}
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *rawLogs) propose(_ context.Context, caller int, _, _ string) error {
	if c.ends[caller]+int64(len(c.value)) > rawLogBytes {
		c.ends[caller] = 0
	}
	if _, err := c.files[caller].WriteAt(c.value, c.ends[caller]); err != nil {
		return err
	}
	c.ends[caller] += int64(len(c.value))
	return datasync(c.files[caller])
}

func (c *rawLogs) stopOne() {}

func (c *rawLogs) counts() counts { return unknownCounts }

// An echo is a connection over loopback whose other end sends back what comes.
type echo struct {
	near, far net.Conn
	value     []byte
}

func startEcho(s setup) (cluster, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	c := &echo{value: make([]byte, s.Value)}
	if c.near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, err
	}
	if c.far, err = l.Accept(); err != nil {
		return nil, errors.Join(err, c.near.Close())
	}
	go func() {
		b := make([]byte, s.Value)
		for {
			if _, err := io.ReadFull(c.far, b); err != nil {
				return
			}
			if _, err := c.far.Write(b); err != nil {
				return
			}
		}
	}()
	return c, nil
}

func (c *echo) propose(context.Context, int, string, string) error {
	if _, err := c.near.Write(c.value); err != nil {
		return err
	}
	_, err := io.ReadFull(c.near, c.value)
	return err
}

func (c *echo) stopOne() {}

func (c *echo) counts() counts { return unknownCounts }
