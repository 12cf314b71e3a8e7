package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"
)

// A client talks to the API of a server.
type client struct {
	addr string // host:port
	http *http.Client
}

func newClient(addr string) *client {
	return &client{addr, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
}

// close gives its connections back.
func (c *client) close() { c.http.CloseIdleConnections() }

// grace is how much longer than the server a client waits: the server's error says more than the client's.
const grace = 250 * time.Millisecond

// A callError is why a call failed, in the server's words.
type callError struct {
	text    string
	code    int  // of HTTP
	unknown bool // the value of a propose may be chosen all the same
}

func (e *callError) Error() string { return e.text }

// unknown reports whether a propose that failed with err may have had an effect: only the server can say that it had none.
func unknown(err error) bool {
	var failed *callError
	return !errors.As(err, &failed) || failed.unknown
}

func (c *client) propose(ctx context.Context, name, value string, timeout time.Duration) (answer, error) {
	if !utf8.ValidString(name) {
		return answer{}, &callError{text: fmt.Sprintf("name: %q is not valid UTF-8", name)} // JSON would make another of it
	}
	body, err := json.Marshal(newProposal(name, value))
	if err != nil {
		return answer{}, err
	}
	var a answer
	err = c.do(ctx, http.MethodPost, "propose", url.Values{}, body, timeout, &a)
	return a, err
}

// forget has all names with a prefix forgotten.
func (c *client) forget(ctx context.Context, prefix string, timeout time.Duration) error {
	return c.do(ctx, http.MethodPost, "forget", url.Values{"prefix": {prefix}}, nil, timeout, &answer{})
}

// ask makes one of the calls read, wait and peek.
func (c *client) ask(ctx context.Context, call, name string, timeout time.Duration) (answer, error) {
	var a answer
	err := c.do(ctx, http.MethodGet, call, url.Values{"name": {name}}, nil, timeout, &a)
	return a, err
}

func (c *client) status(ctx context.Context, timeout time.Duration) (status, error) {
	var s status
	err := c.do(ctx, http.MethodGet, "status", url.Values{}, nil, timeout, &s)
	return s, err
}

// members asks who the members are, and how far the last change is.
func (c *client) members(ctx context.Context, timeout time.Duration) (membership, error) {
	return c.await(ctx, "members", timeout)
}

// await makes one of the calls members, settled and ready.
func (c *client) await(ctx context.Context, call string, timeout time.Duration) (membership, error) {
	var m membership
	err := c.do(ctx, http.MethodGet, call, url.Values{}, nil, timeout, &m)
	return m, err
}

// change asks for the next members, and returns the number of their configuration.
func (c *client) change(ctx context.Context, next change, timeout time.Duration) (number uint64, err error) {
	body, err := json.Marshal(next)
	if err != nil {
		return 0, err
	}
	var decided struct {
		Configuration uint64 `json:"configuration"`
		change
	}
	err = c.do(ctx, http.MethodPost, "change", url.Values{}, body, timeout, &decided)
	return decided.Configuration, err
}

func (c *client) do(ctx context.Context, method, call string, query url.Values, body []byte, timeout time.Duration, into any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout+grace)
	defer cancel()
	query.Set("timeout", timeout.String())
	answered, err := c.send(ctx, method, call, query, body)
	if err != nil {
		return err
	}
	defer answered.Body.Close()
	if err := json.NewDecoder(answered.Body).Decode(into); err != nil {
		return fmt.Errorf("%s: the answer: %w", call, err)
	}
	io.Copy(io.Discard, answered.Body)
	return nil
}

// send sends a request. An answer that is no success is an error.
func (c *client) send(ctx context.Context, method, call string, query url.Values, body []byte) (*http.Response, error) {
	asked, err := http.NewRequestWithContext(ctx, method, "http://"+c.addr+"/v1/"+call+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	asked.Header.Set("Content-Type", "application/json")
	answered, err := c.http.Do(asked)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = fmt.Errorf("%s: no answer from %s: %w", call, c.addr, failed.Err)
		}
		return nil, err
	}
	if answered.StatusCode == http.StatusOK {
		return answered, nil
	}
	defer answered.Body.Close()
	var f failure
	if err := json.NewDecoder(answered.Body).Decode(&f); err != nil {
		return nil, fmt.Errorf("%s: %s answers %s", call, c.addr, answered.Status)
	}
	return nil, &callError{f.Text, answered.StatusCode, f.Unknown}
}

// watch calls each for every decision with an Index above after, until ctx ends or the server goes.
func (c *client) watch(ctx context.Context, after uint64, each func(answer) error) error {
	answered, err := c.send(ctx, http.MethodGet, "watch", url.Values{"after": {strconv.FormatUint(after, 10)}}, nil)
	if err != nil {
		return err
	}
	defer answered.Body.Close()
	lines := json.NewDecoder(bufio.NewReader(answered.Body))
	for {
		var line struct {
			answer
			failure
		}
		if err := lines.Decode(&line); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		if line.Text != "" {
			return &callError{text: line.Text}
		}
		if err := each(line.answer); err != nil {
			return err
		}
	}
}
