package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/singledecree/paxos/paxosweb"
)

// story plays a scenario, and returns it as a page shows it.
func story(s scenario) paxosweb.Story {
	st := stage{Writer: io.Discard}
	st.play(s)
	told := paxosweb.Story{Name: s.name, Title: s.row + ": " + s.title, Outcome: st.outcomes}
	for _, p := range strings.Split(s.caption, "\n\n") {
		told.About = append(told.About, strings.Join(strings.Fields(p), " "))
	}
	told.SVG, told.Steps = st.PaintWithout(st.omit...)
	return told
}

// serve plays the scenarios, and serves a page that shows them, until ctx ends.
func serve(ctx context.Context, w io.Writer, addr string, all []scenario) error {
	var stories []paxosweb.Story
	for _, s := range all {
		stories = append(stories, story(s))
	}
	handler, err := paxosweb.NewStories("Lunch", stories, nil)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	fmt.Fprintf(w, "http://%s/\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
