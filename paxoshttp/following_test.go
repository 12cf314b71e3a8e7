package paxoshttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

// A restarting is a server that stops and starts again, on its storage or on another one, at the same place.
type restarting struct {
	t       *testing.T
	handler atomic.Pointer[Handler]
	node    *node.Node
}

var alone = paxos.Members{Cluster: "alone", Acceptors: []paxos.ServerID{1}}

func (r *restarting) ServeHTTP(w http.ResponseWriter, asked *http.Request) {
	if h := r.handler.Load(); h != nil {
		h.ServeHTTP(w, asked)
		return
	}
	w.WriteHeader(http.StatusBadGateway)
}

func (r *restarting) start(s paxos.Storage) {
	n, err := node.Start(r.t.Context(), node.Config{ID: 1, Members: alone, Storage: s, Transport: memory.NewNetwork().Join(1)})
	require.NoError(r.t, err)
	r.node = n
	r.handler.Store(handlerOf(r.t, n, Config{}))
}

func (r *restarting) stop() {
	r.handler.Store(nil)
	require.NoError(r.t, r.node.Close())
}

func newStorage(t *testing.T) paxos.Storage {
	s := memory.NewStorage()
	require.NoError(t, paxos.Format(s, 1, alone))
	return s
}

// TestDecisionsOverRestarts: a watch goes on over restarts of its server: each decision comes once, in order. It does not go on with another
// storage, whose Indexes mean other decisions.
func TestDecisionsOverRestarts(t *testing.T) {
	r := &restarting{t: t}
	storage := newStorage(t)
	r.start(storage)
	server := httptest.NewServer(r)
	defer server.Close()
	c := clientOf(t, ClientConfig{Servers: []string{server.URL, deadURL(t)}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	propose := func(i int) {
		_, err := r.node.Propose(ctx, fmt.Sprintf("job/%d", i), paxos.Value(fmt.Sprint(i)))
		require.NoError(t, err)
	}
	propose(0)
	seen, last := 0, uint64(0)
	var end error
	for learned, err := range c.Decisions(ctx, 0) {
		if err != nil {
			end = err
			break
		}
		require.Equal(t, fmt.Sprintf("job/%d", seen), learned.Instance)
		require.Equal(t, paxos.Value(fmt.Sprint(seen)), learned.Value)
		require.Greater(t, learned.Index, last)
		last = learned.Index
		seen++
		switch seen {
		case 1, 2, 3:
			r.stop()
			r.start(storage)
			propose(seen)
		case 4:
			r.stop()
			r.start(newStorage(t))
			for i := range 10 { // it is soon beyond the Index
				propose(i)
			}
		}
	}
	r.node.Close()
	require.ErrorIs(t, end, paxos.ErrIndex)
	assert.False(t, paxos.Unknown(end))
	assert.Equal(t, 4, seen)
}

// TestDecisionsOfAClient: names, forgotten names, an Index to go on from, and ends.
func TestDecisionsOfAClient(t *testing.T) {
	urls, servers := startServers(t, 1)
	c := clientOf(t, ClientConfig{Servers: urls})
	decides(t, servers[0], "a", "one\ntwo", "job/1", "\xff", "b", "")
	require.NoError(t, servers[0].Forget(t.Context(), paxos.Prefix("job/")))
	take := func(n int, after uint64, within ...paxos.NameRange) (text string, last uint64) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for learned, err := range c.Decisions(ctx, after, within...) {
			var forgotten *paxos.ForgottenError
			switch {
			case errors.As(err, &forgotten):
				text += forgotten.Names.String() + " "
			case err != nil:
				return text + err.Error(), last
			default:
				text += fmt.Sprintf("%s=%q ", learned.Instance, string(learned.Value))
			}
			require.NotZero(t, learned.Index)
			if last = learned.Index; n == 1 {
				break
			}
			n--
		}
		return text, last
	}
	text, _ := take(3, 0)
	assert.Equal(t, `a="one\ntwo" b="" "job/" "job0" `, text)
	text, last := take(1, 0, paxos.Prefix("a"))
	assert.Equal(t, `a="one\ntwo" `, text)
	text, _ = take(1, last)
	assert.Equal(t, `b="" `, text)
	text, _ = take(1, 0, paxos.OneName("b"), paxos.NameRange{From: "job", To: "k"})
	assert.Equal(t, `b="" `, text)
	text, _ = take(1, 1000)
	assert.Contains(t, text, "paxos: decisions: after is 1000, and the last Index of this storage is 4: not an Index of this storage")
	text, _ = take(1, 0, make([]paxos.NameRange, 65)...)
	assert.Contains(t, text, "65 ranges: at most 64 are allowed")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errors.New("no more"))
	defer cancel()
	for _, err := range c.Decisions(ctx, 0, paxos.Prefix("x")) {
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "no more")
		assert.False(t, paxos.Unknown(err))
	}
}

// TestDecisionsEnd: a watch ends with an error that no repetition mends, or with a line that no server sends.
func TestDecisionsEnd(t *testing.T) {
	decision := `{"name":"a","decided":true,"value":"x","ballot":"1.1","index":7}` + "\n"
	for name, test := range map[string]struct {
		status int
		body   string
		seen   int
		want   string
	}{
		"an Index of another storage": {409, `{"error":"not an Index of this storage","code":"index"}`, 0, "not an Index of this storage"},
		"not allowed":                 {403, `{"error":"not you","code":"forbidden"}`, 0, "not you"},
		"an error that is a line":     {200, decision + "\n\n" + `{"error":"not an Index of this storage","code":"index"}` + "\n", 1, "not an Index of this storage"},
		"no JSON":                     {200, decision + "<html>\n", 1, "invalid character"},
		"an Index that does not rise": {200, decision + decision, 1, "Index 7 after 7"},
		"no Index":                    {200, `{"name":"a","decided":true,"value":"x","ballot":"1.1"}` + "\n", 0, "Index 0 after 0"},
		"nothing":                     {200, "{}\n", 0, "neither a decision nor an error"},
		"both":                        {200, `{"name":"a","decided":true,"value":"x","ballot":"1.1","index":7,"forgotten":["a","b"]}` + "\n", 0, "neither a decision nor an error"},
		"a line without end":          {200, decision + strings.Repeat("x", 5000) + "\n", 1, "a line has over 4096 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set(storeHeader, "8f")
				answers(test.status, test.body)(w, r)
			}))
			defer server.Close()
			c := clientOf(t, ClientConfig{Servers: []string{server.URL}, MaxAnswer: 4096})
			seen := 0
			for _, err := range c.Decisions(t.Context(), 0) {
				if err == nil {
					seen++
					continue
				}
				require.ErrorContains(t, err, test.want)
				assert.True(t, strings.HasPrefix(err.Error(), "paxos: decisions: "), err)
				assert.False(t, paxos.Unknown(err))
			}
			assert.Equal(t, test.seen, seen)
		})
	}
}

// TestDecisionsNoticeSilence: a connection without a sign of life is given up, and the next one goes on. Signs of life keep a quiet one, and
// a slow consumer is no silence.
func TestDecisionsNoticeSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		asked, sent := []string{}, 0
		f := newFarm(t, map[string]http.HandlerFunc{"one": func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, fmt.Sprint(time.Since(began).Round(time.Second), " ", r.URL.RawQuery))
			w.Header().Set("Paxos-Store", "8f")
			send := func(text string) {
				io.WriteString(w, text)
				http.NewResponseController(w).Flush()
			}
			if len(asked) == 2 {
				hangs(w, r)
				return
			}
			sent++
			send(fmt.Sprintf(`{"name":"a","decided":true,"value":"x","ballot":"1.1","index":%d}`+"\n", sent))
			for range 5 * (sent % 2) { // only the first and the third one live for a while
				time.Sleep(10 * time.Second)
				send("\n")
			}
			hangs(w, r)
		}})
		c := f.clientOf(t, ClientConfig{}, "one")
		seen := uint64(0)
		for learned, err := range c.Decisions(t.Context(), 0, paxos.OneName("a")) {
			require.NoError(t, err)
			if seen++; seen == 2 {
				time.Sleep(5 * time.Minute)
			}
			require.Equal(t, seen, learned.Index)
			if seen == 4 {
				break
			}
		}
		synctest.Wait()
		names := "from=a&"
		assert.Equal(t, []string{"0s after=0&" + names + "to=a%00", "1m20s after=1&" + names + "store=8f&to=a%00", "1m50s after=1&" + names + "store=8f&to=a%00", "7m20s after=2&" + names + "store=8f&to=a%00",
			"8m40s after=3&" + names + "store=8f&to=a%00"}, asked)
	})
}
