package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/singledecree/paxos"
)

// A config is what one server is told, as a JSON file. Paths in it are relative to the file's directory.
type config struct {
	ID        paxos.ServerID            `json:"id"`
	Cluster   string                    `json:"cluster"`
	Acceptors []paxos.ServerID          `json:"acceptors"`          // those with which the cluster began: the same on every server, and for ever
	Learners  []paxos.ServerID          `json:"learners,omitempty"` // servers without a vote; one that comes later is among them
	Left      []paxos.ServerID          `json:"left,omitempty"`     // those of them that have left since, and need no address
	Listen    string                    `json:"listen"`             // where the other servers reach this one: host:port or :port
	Peers     map[paxos.ServerID]string `json:"peers"`              // where this one reaches the others, also those that came later
	CA        string                    `json:"ca"`                 // PEM files: the authorities that sign the servers' certificates,
	Cert      string                    `json:"cert"`               // this server's certificate,
	Key       string                    `json:"key"`                // and its key
	Dir       string                    `json:"dir"`                // the storage
	API       string                    `json:"api"`                // where clients on this machine reach it: a loopback address
	Pages     string                    `json:"pages,omitempty"`    // a directory with the addresses of the servers' pages: see page.go
}

// maxConfig is more than a configuration of 1,000 servers takes.
const maxConfig = 1 << 20

// readConfig reads a configuration. An error names the file, and the field that is wrong.
func readConfig(file string) (config, error) {
	f, err := os.Open(file)
	if err != nil {
		return config{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig))
	if err != nil {
		return config{}, err
	}
	c, err := parseConfig(text)
	if err != nil {
		return config{}, fmt.Errorf("%s: %w", file, err)
	}
	for _, path := range []*string{&c.CA, &c.Cert, &c.Key, &c.Dir, &c.Pages} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(filepath.Dir(file), *path)
		}
	}
	return c, nil
}

func parseConfig(text []byte) (c config, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		var bad *json.UnmarshalTypeError
		if errors.As(err, &bad) {
			return c, fmt.Errorf("%s: it can't be %s", bad.Field, bad.Value)
		}
		return c, err
	}
	if _, err := d.Token(); err != io.EOF {
		return c, errors.New("something follows the configuration")
	}
	return c, c.check()
}

// check returns an error that names the field that is wrong. Package paxos checks id, cluster, acceptors and learners once
// more when the storage is created, and so does tcp; here they are only found sooner.
func (c config) check() error {
	for _, f := range []struct{ name, value string }{
		{"cluster", c.Cluster}, {"listen", c.Listen}, {"ca", c.CA}, {"cert", c.Cert}, {"key", c.Key}, {"dir", c.Dir}, {"api", c.API},
	} {
		if f.value == "" {
			return fmt.Errorf("%s: it is missing", f.name)
		}
	}
	others := slices.Concat(c.Acceptors, c.Learners)
	switch {
	case c.ID == 0:
		return errors.New("id: it is missing, or 0")
	case len(c.Acceptors) == 0:
		return errors.New("acceptors: none")
	case !slices.Contains(others, c.ID):
		return fmt.Errorf("id: server %d is neither an acceptor nor a learner", c.ID)
	}
	for _, id := range others {
		if id != c.ID && c.Peers[id] == "" && !slices.Contains(c.Left, id) {
			return fmt.Errorf("peers: server %d has no address", id)
		}
	}
	for _, id := range c.Left {
		if !slices.Contains(others, id) {
			return fmt.Errorf("left: server %d was neither an acceptor nor a learner", id)
		}
	}
	for id, addr := range c.Peers {
		if id == c.ID || id == 0 {
			return fmt.Errorf("peers: server %d is not another server", id)
		}
		if err := checkAddr(addr); err != nil {
			return fmt.Errorf("peers: server %d: %w", id, err)
		}
	}
	if err := checkAddr(c.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := checkAddr(c.API); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	if !isLoopback(c.API) {
		return fmt.Errorf("api: %s is not on a loopback address: whoever reached it could propose anything", c.API)
	}
	return nil
}

func checkAddr(addr string) error {
	_, _, err := net.SplitHostPort(addr)
	return err
}

// isLoopback reports whether addr, "host:port", can be reached from this machine only.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func (c config) members() paxos.Members {
	return paxos.Members{Cluster: c.Cluster, Acceptors: c.Acceptors, Learners: c.Learners}
}

// write writes c as a file that readConfig reads.
func (c config) write(file string) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}
