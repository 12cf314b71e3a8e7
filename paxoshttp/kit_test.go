package paxoshttp

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ Server = (*node.Node)(nil)

// startNodes starts so many servers in memory.
func startNodes(t testing.TB, n int) []*node.Node {
	t.Helper()
	nodes, stop, err := memory.Cluster(memory.Config{Servers: n})
	t.Cleanup(stop)
	require.NoError(t, err)
	return nodes
}

func handlerOf(t testing.TB, s Server, c Config) *Handler {
	t.Helper()
	h, err := NewHandler(s, c)
	require.NoError(t, err)
	return h
}

// asks hands a request to a handler, as a client on this machine sends it.
func asks(h http.Handler, method, path, body string, change ...func(*http.Request)) (status int, answer string) {
	r := httptest.NewRequest(method, "http://localhost:8000"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// failed decodes the answer to a call that failed.
func failed(t testing.TB, text string) (f failure) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &f), "%s", text)
	return f
}

// A fake is a Server whose calls a test makes up. Those that it leaves out return nothing.
type fake struct {
	propose   func(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error)
	read      func(ctx context.Context, instance string) (paxos.Decision, bool, error)
	wait      func(ctx context.Context) error // of Ready and Settled
	forget    func(names paxos.NameRange) error
	change    func(next paxos.Members) (paxos.Configuration, error)
	decisions func(yield func(paxos.Learned, error) bool)
	quiet     chan struct{} // nothing is decided, and it is closed when the context of Decisions ends
	now       paxos.Configuration
	status    func() paxos.Status
	done      chan struct{}
	err       error
}

func (f *fake) Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error) {
	if f.propose == nil {
		return paxos.Decision{Instance: instance, Value: v}, nil
	}
	return f.propose(ctx, instance, v)
}

func (f *fake) Read(ctx context.Context, instance string) (paxos.Decision, bool, error) {
	if f.read == nil {
		return paxos.Decision{}, false, nil
	}
	return f.read(ctx, instance)
}

func (f *fake) Peek(ctx context.Context, instance string) (paxos.Decision, bool, error) {
	return f.Read(ctx, instance)
}

func (f *fake) Wait(ctx context.Context, instance string) (paxos.Decision, error) {
	d, _, err := f.Read(ctx, instance)
	return d, err
}

func (f *fake) Decisions(ctx context.Context, _ uint64, _ ...paxos.NameRange) iter.Seq2[paxos.Learned, error] {
	if f.quiet != nil {
		return func(func(paxos.Learned, error) bool) {
			<-ctx.Done()
			close(f.quiet)
		}
	}
	if f.decisions == nil {
		return func(func(paxos.Learned, error) bool) {}
	}
	return f.decisions
}

func (f *fake) Forget(_ context.Context, names paxos.NameRange) error {
	if f.forget == nil {
		return nil
	}
	return f.forget(names)
}

func (f *fake) Change(_ context.Context, next paxos.Members) (paxos.Configuration, error) {
	if f.change == nil {
		return f.now, nil
	}
	return f.change(next)
}

func (f *fake) Ready(ctx context.Context) error {
	if f.wait == nil {
		return nil
	}
	return f.wait(ctx)
}

func (f *fake) Settled(ctx context.Context) error { return f.Ready(ctx) }

func (f *fake) Configuration() (paxos.Configuration, bool) {
	if f.now.Members.Acceptors == nil {
		f.now.Members = paxos.Members{Cluster: "fake", Acceptors: []paxos.ServerID{1}}
	}
	return f.now, true
}

func (f *fake) Status() paxos.Status {
	if f.status == nil {
		return paxos.Status{ID: 1, Settled: true, Configuration: f.now.Number}
	}
	return f.status()
}

func (f *fake) Done() <-chan struct{} { return f.done }
func (f *fake) Err() error            { return f.err }
