package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxosweb"
)

// pagePath is where the API has a page to look at, for a browser on this machine.
const pagePath = "/look/"

// The page of a server draws what all servers did in an instance. So it asks the pages of the others for their events. A directory has
// their addresses, in a file for each server: 2.page holds http://127.0.0.1:8002/look/. Each server writes its own. The servers of a
// local cluster share the directory. For servers apart, people write the files of the others, such as those of tunnels.

// page is the handler of the page. The server keeps its events for it.
func (s *server) page() (http.Handler, error) {
	s.node.SetTracing(true)
	return paxosweb.NewHandler(s.node, paxosweb.Config{Trace: s.trace})
}

// trace gets the events of another server.
func (s *server) trace(ctx context.Context, id paxos.ServerID, instance string) (paxosweb.Trace, error) {
	if s.config.Pages == "" {
		return paxosweb.Trace{}, errors.New("pages: it is missing in the configuration")
	}
	address, err := readPage(s.config.Pages, id)
	if err != nil {
		return paxosweb.Trace{}, err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	return paxosweb.Fetch(ctx, &http.Client{Transport: transport}, address, instance)
}

// tellPage writes the address of the page of this server.
func (s *server) tellPage() error {
	if s.config.Pages == "" {
		return nil
	}
	name := pageFile(s.config.Pages, s.config.ID)
	if err := os.WriteFile(name+".new", []byte("http://"+s.listener.Addr().String()+pagePath+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func pageFile(dir string, id paxos.ServerID) string {
	return filepath.Join(dir, fmt.Sprintf("%d.page", id))
}

// maxPage is more than an address takes.
const maxPage = 4096

func readPage(dir string, id paxos.ServerID) (address string, err error) {
	f, err := os.Open(pageFile(dir, id))
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPage))
	return strings.TrimSpace(string(text)), err
}

// page returns the address of the page of the first server that is up.
func (l *local) page() string {
	for _, c := range l.children {
		if _, reach := c.now(); reach != nil {
			if address, err := readPage(l.dir, c.id); err == nil {
				return address
			}
		}
	}
	return ""
}
