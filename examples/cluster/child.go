package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/singledecree/paxos"
)

// A child is a server process that this one has started, or may start.
type child struct {
	id      paxos.ServerID
	program string // this one
	file    string // its configuration
	logFile string // where its log goes, after what is there

	mu     sync.Mutex
	state  string        // "up", "down", "paused"; and what it has come to by itself
	client *client       // of its API, while it is up or paused
	cmd    *exec.Cmd     // likewise
	stdin  io.Closer     // likewise: its end tells the child to end
	ended  chan struct{} // closed when the process has ended
	wanted bool          // this process has ended it
}

// childTimeout is how long a child may take to be up, or to end.
const childTimeout = 20 * time.Second

// start starts the process, and returns when its API can be reached.
func (c *child) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd != nil {
		return fmt.Errorf("server %d runs already", c.id)
	}
	log, err := os.OpenFile(c.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.program, "serve", "-tethered", "-config", c.file)
	cmd.Stderr, cmd.SysProcAttr = log, tethered()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var s serving
	late := time.AfterFunc(childTimeout, func() { cmd.Process.Kill() })
	err = json.NewDecoder(stdout).Decode(&s)
	late.Stop()
	var reach *client
	if err == nil {
		reach, err = newClient(s.API)
	}
	if err != nil {
		cmd.Process.Kill()
		stdin.Close()
		return fmt.Errorf("server %d does not start: %w: %s", c.id, cmd.Wait(), lastLine(c.logFile))
	}
	c.cmd, c.stdin, c.client, c.state, c.wanted, c.ended = cmd, stdin, reach, "up", false, make(chan struct{})
	go c.wait(cmd, c.ended)
	return nil
}

// wait notes the end of the process.
func (c *child) wait(cmd *exec.Cmd, ended chan struct{}) {
	err := cmd.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = "down"
	if !c.wanted {
		c.state = fmt.Sprintf("down by itself (%v): %s", err, lastLine(c.logFile))
	}
	c.client.close()
	c.stdin.Close()
	c.cmd, c.client, c.stdin = nil, nil, nil
	close(ended)
}

// signal calls f with the process.
func (c *child) signal(f func(*os.Process) error, from, to string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil || from != "" && c.state != from {
		return fmt.Errorf("server %d is %s", c.id, c.state)
	}
	if err := f(c.cmd.Process); err != nil {
		return err
	}
	c.state = to
	return nil
}

func (c *child) pause() error  { return c.signal(pause, "up", "paused") }
func (c *child) resume() error { return c.signal(resume, "paused", "up") }

// kill ends the process at once, paused or not.
func (c *child) kill() error {
	c.mu.Lock()
	c.wanted = true
	ended := c.ended
	c.mu.Unlock()
	if err := c.signal((*os.Process).Kill, "", "down"); err != nil {
		return err
	}
	<-ended
	return nil
}

// stop asks the process to end, and kills it if it does not.
func (c *child) stop() error {
	c.mu.Lock()
	if c.cmd == nil {
		c.mu.Unlock()
		return nil
	}
	c.wanted = true
	paused, ended := c.state == "paused", c.ended
	c.stdin.Close()
	c.mu.Unlock()
	if paused {
		return c.kill()
	}
	late := time.NewTimer(childTimeout)
	defer late.Stop()
	select {
	case <-ended:
		return nil
	case <-late.C:
		return errors.Join(fmt.Errorf("server %d did not end, and was killed", c.id), c.kill())
	}
}

// now returns how the child is, and its client if it can be reached.
func (c *child) now() (state string, reach *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.client
}

// lastLine returns the last line of a log, which says why a server has ended.
func lastLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	return string(text[bytes.LastIndexByte(text, '\n')+1:])
}
