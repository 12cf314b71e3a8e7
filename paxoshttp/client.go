package paxoshttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
)

// A ClientConfig describes a [Client]. Servers is required. In every other field the zero value means the default.
type ClientConfig struct {
	// Servers are 1 to 64 URLs, each the place of a [Handler], such as "http://10.0.0.1:8000/v1". They are servers of one cluster.
	Servers []string
	// HTTP sends the requests. Its Timeout is not used, and it follows no redirect, which would hide the server that was asked. Nil
	// means one of the Client's own, which keeps 64 idle connections to a server. A Transport of one's own must not send a POST
	// again that may have arrived. Over HTTP/2 it has to ping, so that a watch does not wait on a dead connection. Its error is a *net.OpError of the Op "dial", or a *tls.CertificateVerificationError, only if
	// nothing was sent.
	HTTP *http.Client
	// Header goes into every request, for example to say who calls. The Client keeps a copy. An Idempotency-Key is refused: with
	// it, net/http sends a POST again by itself, and its error does not tell. A Host is refused, too.
	Header http.Header
	// Try bounds the time that one server may take before the next is asked. Default: 10 s. If the context has less time for each
	// server that is left, that counts.
	Try time.Duration
	// Silence is the time after which [Client.Decisions] gives up a connection without a sign of life. Default: 30 s, three times the
	// default of Config.Heartbeat.
	Silence time.Duration
	// MaxAnswer bounds the bytes of an answer, and of a line of a watch. Default and most: 8 MiB.
	MaxAnswer int
}

// A Client makes the calls of a Node at servers that serve them over HTTP. It is safe for concurrent use. NewClient makes it.
//
// # Which server
//
// A call goes to the server that answered last. If that does not answer in time, or can't serve the call, the next one is asked, each
// once. So a call lasts at most as long as ClientConfig.Try for each server. [Client.Wait], [Client.Ready] and [Client.Settled] begin
// again until their context ends, and so does [Client.Decisions], which stays with one server.
//
// # What is unknown
//
// Every error is a [*paxos.OpError], as of a Node, and wraps the same errors. Unknown is false only if no server can have had
// the value: no connection was made, or the answer says so. An answer that is lost, or that breaks off, leaves it unknown. So does one
// with a [Code] that is not known, or that has another status than its own. An answer 4xx without a known Code says that nothing was done,
// unless it is 408 or 499. So a proxy must not answer in that way to a request that it has passed on, and must not send a POST to a second
// server.
//
// A Propose that goes to the next server after a lost answer is safe: it offers the same value, and returns the value that was
// chosen. To tell which of two callers has won, each offers bytes of its own, such as a nonce, and keeps them for all its calls.
// [github.com/singledecree/paxos/recipe/once] does that.
type Client struct {
	config ClientConfig
	http   *http.Client
	own    *http.Transport // nil: it was given
	last   atomic.Int64    // the place of the server that answered last
}

// NewClient returns a Client. It asks no server. An error names the field of c that is wrong.
func NewClient(c ClientConfig) (*Client, error) {
	c.Servers, c.Header = append([]string(nil), c.Servers...), c.Header.Clone()
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("paxoshttp: %w", err)
	}
	client := &Client{config: c}
	if c.HTTP != nil {
		given := *c.HTTP
		given.Timeout = 0
		client.http = &given
	} else {
		client.own = &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			// All calls share one connection of HTTP/2, also those after its machine has gone.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second}}
		client.http = &http.Client{Transport: client.own}
	}
	client.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client, nil
}

// complete puts defaults in place of zero fields. An error names the field that is wrong.
func (c *ClientConfig) complete() error {
	if n := len(c.Servers); n < 1 || n > 64 {
		return fmt.Errorf("ClientConfig.Servers: %d servers: want 1 to 64", n)
	}
	for i, server := range c.Servers {
		u, err := url.Parse(server)
		if err == nil && u.User != nil { // errors name servers
			return errors.New("ClientConfig.Servers: a URL has a user: say in Header who calls")
		}
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("ClientConfig.Servers: %q: want a URL like http://10.0.0.1:8000/v1", shorten(server))
		}
		c.Servers[i] = strings.TrimRight(server, "/")
	}
	if err := checkHeader(c.Header); err != nil {
		return fmt.Errorf("ClientConfig.Header: %w", err)
	}
	if err := setDefault("ClientConfig.Try", &c.Try, 10*time.Second, time.Millisecond, 24*time.Hour); err != nil {
		return err
	}
	if err := setDefault("ClientConfig.Silence", &c.Silence, 30*time.Second, time.Millisecond, 24*time.Hour); err != nil {
		return err
	}
	return setDefault("ClientConfig.MaxAnswer", &c.MaxAnswer, most, 1<<10, most)
}

// checkHeader returns an error if a header can't be sent, or means that more than one request may be. No error shows a value: it may be secret.
func checkHeader(h http.Header) error {
	for name, values := range h {
		switch {
		case name == "" || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", c) }):
			return fmt.Errorf("%q: not the name of a header", shorten(name))
		case name == "Idempotency-Key" || name == "X-Idempotency-Key":
			return fmt.Errorf("%s: it is not allowed, because net/http would send a POST again by itself", name)
		case name == "Host":
			return fmt.Errorf("%s: it is not sent, because the URL of a server names its host", name)
		}
		for _, v := range values {
			if strings.ContainsFunc(v, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
				return fmt.Errorf("%s: a value has a control character, such as a line end", name)
			}
		}
	}
	return nil
}

// Close gives back the idle connections of a Client without a ClientConfig.HTTP. Calls that run go on.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// A question is a request that any server can be asked.
type question struct {
	op, instance string // of the error
	method, call string
	query        url.Values
	body         []byte
	effect       bool // it may have an effect, so a lost answer leaves something unknown
	once         bool // it must not be asked again when it may have arrived
}

// A decoder takes an answer.
type decoder func(text []byte) error

// decode reads an answer. Package json alone would put U+FFFD in the place of what is no text.
func decode(text []byte, v any) error {
	if err := checkText(text); err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// into returns the decoder that puts an answer into v, or leaves v as it was. It refuses JSON in which check misses what each answer of
// a Handler has: it comes from somebody else.
func into[T any](v *T, check func(T) error) decoder {
	return func(text []byte) error {
		var fresh T
		err := decode(text, &fresh)
		if err == nil {
			err = check(fresh)
		}
		if err == nil {
			*v = fresh
		}
		return err
	}
}

// fails returns the error of a question after which nothing is certain, unless it never has an effect.
func (q question) fails(err error) *paxos.OpError {
	e := certain(q.op, q.instance, err)
	e.Unsent = !q.effect
	return e
}

// ask asks one server, and hands its answer to into. ctx bounds it, and the server gets a little less time: its error says more.
func (c *Client) ask(ctx context.Context, server string, q question, into decoder) *paxos.OpError {
	query := url.Values{}
	for name, values := range q.query {
		query[name] = values
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		query.Set("timeout", max(left-min(left/8, 250*time.Millisecond), time.Nanosecond).String())
	}
	answered, failed := c.send(ctx, server, q, query, "application/json")
	if failed != nil {
		return failed
	}
	defer answered.Body.Close()
	text, err := c.read(answered.Body)
	if err == nil {
		err = into(text)
	}
	if err != nil {
		return q.fails(fmt.Errorf("the answer of %s: %w", server, lost(ctx, err)))
	}
	return nil
}

// send sends a question to a server. An answer that is no success is an error. The caller closes the body of a success.
func (c *Client) send(ctx context.Context, server string, q question, query url.Values, accept string) (*http.Response, *paxos.OpError) {
	target := server + "/" + q.call
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	asked, err := http.NewRequestWithContext(ctx, q.method, target, bytes.NewReader(q.body))
	if err != nil {
		return nil, certain(q.op, q.instance, err)
	}
	for name, values := range c.config.Header {
		asked.Header[name] = values
	}
	asked.Header.Set("Accept", accept)
	if q.method == http.MethodPost {
		asked.Header.Set("Content-Type", "application/json")
	}
	var connected atomic.Bool
	if c.own != nil { // a Transport of others need not tell it
		asked = asked.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}))
	}
	answered, err := c.http.Do(asked)
	if err != nil {
		failed := q.fails(fmt.Errorf("no answer from %s: %w", server, lost(ctx, err)))
		failed.Unsent = failed.Unsent || neverSent(err) || c.own != nil && !connected.Load()
		return nil, failed
	}
	if answered.StatusCode == http.StatusOK {
		return answered, nil
	}
	defer answered.Body.Close()
	return nil, c.refused(server, q, answered)
}

// refused returns the error of an answer that is no success.
func (c *Client) refused(server string, q question, answered *http.Response) *paxos.OpError {
	var f failure
	status := answered.StatusCode
	text, cut := c.read(answered.Body)
	if cut == nil && json.Unmarshal(text, &f) == nil && f.Code != "" && f.Text != "" {
		failed := f.opError(q.op, q.instance, server, status)
		failed.Unsent = !q.effect || !f.Unknown && (f.Code.known() && f.Code.Status() == status || refuses(status))
		return failed
	}
	failed := q.fails(&ServerError{URL: server, Status: status, Text: fmt.Sprintf("%s answers %q", server, shorten(answered.Status)), kind: plainKind(status)})
	failed.Unsent = failed.Unsent || cut == nil && refuses(status)
	return failed
}

// plainKind returns the error that a status stands for in an answer without a Code.
func plainKind(status int) error {
	switch status {
	case http.StatusUnauthorized:
		return ErrUnauthenticated
	case http.StatusForbidden:
		return ErrForbidden
	}
	return nil
}

// refuses reports whether a status without a Code, or with one that is not known, says that nothing was done. A proxy answers 408 or 499 when it waits no longer.
func refuses(status int) bool {
	return status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != 499
}

// neverSent reports whether the error of a request says that there was no connection to send it on, or that it led to somebody else. A
// connection to a proxy fails with another Op.
func neverSent(err error) bool {
	var failed *net.OpError
	var stranger *tls.CertificateVerificationError
	return errors.As(err, &failed) && failed.Op == "dial" || errors.As(err, &stranger)
}

// read reads an answer, up to the limit.
func (c *Client) read(body io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(body, int64(c.config.MaxAnswer)+1))
	if err == nil && len(text) > c.config.MaxAnswer {
		return nil, fmt.Errorf("it has over %d bytes: %w", c.config.MaxAnswer, paxos.ErrTooLarge)
	}
	return text, err
}

// lost returns the reason why an answer is lost: the end of ctx, if that is it.
func lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctxError(ctx)
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err // the rest is said already
	}
	return err
}

// ctxError returns the reason why ctx ended. For [errors.Is] it is both the error of ctx and the cause that ctx was given.
func ctxError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}
