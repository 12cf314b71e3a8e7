package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// The limits of disk and wire for long values, without any library. Each server has a file, and the first has a connection to each other
// one. A value goes over both connections, and into three files. It counts when two files have it.
const (
	carryCached = "floor: files and sockets, page cache"
	carryDirect = "floor: files and sockets, direct"
)

// leastCarried is the length of a value from which its bytes matter, and not the calls for them.
const leastCarried = 64 << 10

func carryContestants() []contestant {
	at := func(w work) bool {
		return w.Disk && w.Servers == 3 && w.Value >= leastCarried && w.Value%carryPage == 0 && !w.Contended && !w.Gap && w.Change == "" && w.Sweep == ""
	}
	return []contestant{
		{name: carryCached, start: func(s setup) (cluster, error) { return startCarriers(s, false) }, at: at, floor: true},
		{name: carryDirect, start: func(s setup) (cluster, error) { return startCarriers(s, true) }, at: at, floor: true},
	}
}

// carryPage is the size of which the memory and the length of a direct write are multiples.
const carryPage = 4096

// carriers are three servers that write values to their files.
type carriers struct {
	disks []*carrier
	value []byte
	syncs *atomic.Int64
	wires [2]struct {
		mu    sync.Mutex // held while a value is written
		conn  net.Conn
		waits chan chan error // for the answers, in the order of the values
	}
}

func startCarriers(s setup, direct bool) (cluster, error) {
	c := &carriers{value: aligned(s.Value), syncs: &atomic.Int64{}}
	copy(c.value, valuesFor(1, s.Value)[0])
	for i := range s.Servers {
		d := &carrier{dir: filepath.Join(s.dir, fmt.Sprint(i)), direct: direct, queue: make(chan carried, 2*s.Callers), syncs: c.syncs}
		if err := os.Mkdir(d.dir, 0o755); err != nil {
			return nil, err
		}
		c.disks = append(c.disks, d)
		go d.run()
	}
	for i := range c.wires {
		if err := c.connect(i, s); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// connect connects the first server with another one.
func (c *carriers) connect(i int, s setup) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	w := &c.wires[i]
	if w.conn, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return err
	}
	far, err := l.Accept()
	if err != nil {
		return err
	}
	w.waits = make(chan chan error, 2*s.Callers)
	go c.disks[i+1].receive(far, s)
	go func() {
		for b := make([]byte, 1); ; {
			if _, err := io.ReadFull(w.conn, b); err != nil {
				return
			}
			<-w.waits <- nil
		}
	}()
	return nil
}

// propose returns when two of three files have the value durably.
func (c *carriers) propose(_ context.Context, _ int, _, _ string) error {
	done := make(chan error, 3)
	for i := range c.wires {
		w := &c.wires[i]
		w.mu.Lock()
		w.waits <- done
		_, err := w.conn.Write(c.value)
		w.mu.Unlock()
		if err != nil {
			return err
		}
	}
	c.disks[0].queue <- carried{c.value, func(err error) { done <- err }}
	return errors.Join(<-done, <-done)
}

func (c *carriers) stopOne() {}

func (c *carriers) counts() counts { return counts{syncs: c.syncs.Load(), messages: -1} }

// A carried is a value on its way to a file.
type carried struct {
	value []byte
	done  func(error)
}

// A carrier is the disk of one server. All values that wait share one sync.
type carrier struct {
	dir    string
	direct bool
	queue  chan carried
	syncs  *atomic.Int64
	file   *os.File
	end    int64
	files  int
}

// carryFile is how much room a file has.
const carryFile = 32 << 20

func (d *carrier) run() {
	for first := range d.queue {
		group := []carried{first}
		for n := len(d.queue); n > 0; n-- {
			group = append(group, <-d.queue)
		}
		err := d.write(group)
		for _, v := range group {
			v.done(err)
		}
	}
}

func (d *carrier) write(group []carried) (err error) {
	for _, v := range group {
		if d.file == nil || d.end+int64(len(v.value)) > carryFile {
			if err := d.next(); err != nil {
				return err
			}
		}
		if _, err := d.file.WriteAt(v.value, d.end); err != nil {
			return err
		}
		d.end += int64(len(v.value))
	}
	d.syncs.Add(1)
	return datasync(d.file)
}

// next goes on in another file, which has its room.
func (d *carrier) next() (err error) {
	if d.file != nil {
		if err := errors.Join(datasync(d.file), d.file.Close()); err != nil {
			return err
		}
	}
	d.files++
	d.file, err = reserved(filepath.Join(d.dir, fmt.Sprint(d.files)), carryFile, d.direct)
	d.end = 0
	return err
}

// receive writes to the file all values that come, and answers each with a byte.
func (d *carrier) receive(far net.Conn, s setup) {
	free := make(chan []byte, s.Callers)
	for range s.Callers {
		free <- aligned(s.Value)
	}
	var mu sync.Mutex
	for b := range free {
		if _, err := io.ReadFull(far, b); err != nil {
			return
		}
		d.queue <- carried{b, func(err error) {
			free <- b
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				far.Close()
				return
			}
			far.Write([]byte{1})
		}}
	}
}

// aligned returns n bytes that lie at the beginning of a page: Go does that with memory of that size.
func aligned(n int) []byte { return make([]byte, max(n, leastCarried))[:n] }
