package browsertest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/paxosweb"
)

// browser is one Chromium for all tests. Each test has a tab of its own.
var browser context.Context

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	// Some machines allow no sandbox of the browser. Its pages are those of this package alone.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU)
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	var stop context.CancelFunc
	browser, stop = chromedp.NewContext(allocator)
	if err := chromedp.Run(browser); err != nil {
		os.Stderr.WriteString("no Chromium runs here: " + err.Error() + "\n")
		return 1
	}
	code := m.Run()
	chromedp.Cancel(browser)
	stop()
	end()
	if err := goleak.Find(goleak.IgnoreTopFunction("os/exec.(*Cmd).watchCtx.func1")); err != nil && code == 0 {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	return code
}

// A site is a cluster of three servers, the page of the first, and the complaints of the browser.
type site struct {
	t     *testing.T
	nodes []*node.Node
	url   string
	tab   context.Context

	mu       sync.Mutex
	requests []string // addresses
	problems []string // of scripts, and of what the policy forbids
}

const prefix = "/ops/paxos/"

func newSite(t *testing.T) *site {
	nodes, stop, err := memory.Cluster(memory.Config{Members: paxos.Members{Cluster: "lunch"}})
	require.NoError(t, err)
	t.Cleanup(stop)
	for _, n := range nodes {
		n.SetTracing(true)
	}
	handler, err := paxosweb.NewHandler(nodes[0], paxosweb.Config{Trace: func(_ context.Context, id paxos.ServerID, instance string) (paxosweb.Trace, error) {
		return paxosweb.TraceOf(nodes[id-1], instance), nil
	}})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle(prefix, handler)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s := &site{t: t, nodes: nodes, url: server.URL + prefix}
	tab, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	s.tab, cancel = context.WithTimeout(tab, 60*time.Second)
	t.Cleanup(cancel)
	chromedp.ListenTarget(s.tab, s.listen)
	s.do(network.Enable(), log.Enable(), runtime.Enable(), page.Enable(), emulation.SetDeviceMetricsOverride(1280, 900, 1, false))
	t.Cleanup(s.check)
	return s
}

func (s *site) listen(event any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		s.requests = append(s.requests, event.Request.URL)
	case *log.EventEntryAdded:
		s.problems = append(s.problems, event.Entry.Text+" "+event.Entry.URL)
	case *runtime.EventExceptionThrown:
		s.problems = append(s.problems, event.ExceptionDetails.Error())
	case *page.EventJavascriptDialogOpening:
		s.problems = append(s.problems, "a dialog: "+event.Message)
	}
}

// check fails if a script failed, the policy forbade something, or the page asked another origin.
func (s *site) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	assert.Empty(s.t, s.problems)
	for _, address := range s.requests {
		assert.True(s.t, strings.HasPrefix(address, s.url), address)
	}
}

func (s *site) do(actions ...chromedp.Action) {
	s.t.Helper()
	require.NoError(s.t, chromedp.Run(s.tab, actions...))
}

// open opens an address below that of the page.
func (s *site) open(address string) {
	s.t.Helper()
	s.do(chromedp.Navigate(s.url + address))
}

func (s *site) openInstance(name string) {
	s.t.Helper()
	s.open("instance?" + url.Values{"name": {name}}.Encode())
}

// get returns the value of an expression of JavaScript.
func get[T any](s *site, expression string) (v T) {
	s.t.Helper()
	s.do(chromedp.Evaluate(expression, &v))
	return v
}

// until waits until an expression of JavaScript is true.
func (s *site) until(expression string) {
	s.t.Helper()
	s.do(chromedp.Poll(expression, nil, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(20*time.Second)))
}

// text returns the visible text of the first element that fits.
func (s *site) text(selector string) (text string) {
	s.t.Helper()
	s.do(chromedp.Text(selector, &text, chromedp.ByQuery))
	return text
}

// propose decides an instance, and waits until all servers have saved the decision.
func (s *site) propose(name string, v paxos.Value) {
	s.t.Helper()
	_, err := s.nodes[0].Propose(s.t.Context(), name, v)
	require.NoError(s.t, err)
	require.Eventually(s.t, func() bool {
		for _, n := range s.nodes {
			saved := false
			for e := range n.Events(0) {
				saved = saved || e.Kind == paxos.EventRecord && e.Message.Kind == paxos.KindDecided && e.Message.Instance == name
			}
			if !saved {
				return false
			}
		}
		return true
	}, 10*time.Second, 5*time.Millisecond)
}
