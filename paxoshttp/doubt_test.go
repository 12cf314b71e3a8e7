package paxoshttp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/recipe/once"
)

// TestClientTakesNoAnswerOfAStranger: JSON that no Handler answers is no success of any call. After a change it leaves the outcome unknown.
func TestClientTakesNoAnswerOfAStranger(t *testing.T) {
	for _, text := range []string{`{}`, `null`, `{"status":"UP"}`, `{"configuration":0}`, `{"configuration":1,"acceptors":[1,2],"learners":[],"addresses":{}}`} {
		server := httptest.NewServer(answers(200, text))
		defer server.Close()
		c := clientOf(t, ClientConfig{Servers: []string{server.URL}})
		_, err := c.Change(t.Context(), paxos.Members{Acceptors: []paxos.ServerID{1}})
		if assert.Error(t, err, text) {
			assert.True(t, paxos.Unknown(err), text)
		}
		_, err = c.Members(t.Context())
		assert.Error(t, err, text)
		_, err = c.Status(t.Context())
		assert.Error(t, err, text)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		assert.Error(t, c.Ready(ctx), text)
	}
}

// TestClientDoubtsAGateway: JSON with a code is no answer of a Handler, unless the code is one of its own and has its status. So the error of
// a gateway between the two makes nothing certain.
func TestClientDoubtsAGateway(t *testing.T) {
	for text, test := range map[string]struct {
		status  int
		unknown bool
	}{
		`{"code":"GATEWAY_TIMEOUT","message":"upstream"}`: {504, true},
		`{"code":"internal","msg":"so"}`:                  {500, true},
		`{"code":"timeout","error":"so"}`:                 {502, true},
		`{"code":"tomorrow","error":"so"}`:                {503, true},
		`{"code":"RATE","error":"so"}`:                    {429, false},
		`{"code":"busy","error":"so"}`:                    {503, false},
	} {
		server := httptest.NewServer(answers(test.status, text))
		defer server.Close()
		_, err := clientOf(t, ClientConfig{Servers: []string{server.URL}}).Propose(t.Context(), "a", "x")
		require.Error(t, err)
		assert.Equal(t, test.unknown, paxos.Unknown(err), text)
	}
}

// TestClientDoubtsHalfARefusal: a refusal that breaks off may have said that the outcome is unknown.
func TestClientDoubtsHalfARefusal(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusGone)
		io.WriteString(w, `{"error":"so","code":"forgotten",`)
	}))
	defer server.Close()
	_, err := clientOf(t, ClientConfig{Servers: []string{server.URL}}).Propose(t.Context(), "a", "x")
	require.Error(t, err)
	assert.True(t, paxos.Unknown(err))
}

// TestClientGivesTheCause: an error after the end of a context wraps its cause, whatever has failed before.
func TestClientGivesTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errEnough := errors.New("enough")
		f := newFarm(t, map[string]http.HandlerFunc{"one": answers(504, `{"error":"so","code":"timeout"}`), "hangs": hangs})
		for _, name := range []string{"one", "hangs"} {
			for _, end := range []error{context.DeadlineExceeded, context.Canceled} {
				ctx, cancel := context.WithTimeoutCause(t.Context(), 9*time.Second, errEnough)
				if end == context.Canceled {
					short, stop := context.WithCancelCause(t.Context())
					time.AfterFunc(9*time.Second, func() { stop(errEnough) })
					ctx = short
				}
				c := f.clientOf(t, ClientConfig{Try: 4 * time.Second, Silence: 4 * time.Second}, name)
				_, err := c.Wait(ctx, "a")
				require.ErrorIs(t, err, end, name)
				require.ErrorIs(t, err, errEnough, name)
				assert.False(t, paxos.Unknown(err))
				cancel()
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		time.AfterFunc(9*time.Second, func() { cancel(errEnough) })
		for _, err := range f.clientOf(t, ClientConfig{Silence: 4 * time.Second}, "hangs").Decisions(ctx, 0) {
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, errEnough)
		}
	})
}

// TestClientKnowsThatNothingWasSent: a machine that does not take connections, or is another one than its certificate says, has had nothing. So a
// change goes on to the next server.
func TestClientKnowsThatNothingWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm(t, map[string]http.HandlerFunc{"two": answers(200, `{"configuration":7,"acceptors":[1],"learners":[],"addresses":{}}`)})
		c := clientOf(t, ClientConfig{Servers: []string{"http://off.test", "http://two.test"}, Try: 2 * time.Second})
		dial := f.client.Transport.(*http.Transport).DialContext
		c.own.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "off.test:80" {
				<-ctx.Done() // nobody answers
				return nil, ctx.Err()
			}
			return dial(ctx, network, addr)
		}
		number, err := c.Change(t.Context(), paxos.Members{Acceptors: []paxos.ServerID{1}})
		require.NoError(t, err)
		assert.Equal(t, uint64(7), number)
		c.config.Servers = c.config.Servers[:1]
		_, err = c.Propose(t.Context(), "a", "x")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.False(t, paxos.Unknown(err))
		c.Close()
	})
	server := httptest.NewTLSServer(answers(200, answered))
	defer server.Close()
	server.Config.ErrorLog = nil
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for _, own := range []*http.Client{nil, {Transport: transport}} {
		_, err := clientOf(t, ClientConfig{Servers: []string{server.URL}, HTTP: own}).Propose(t.Context(), "a", "x")
		require.ErrorContains(t, err, "certificate")
		assert.False(t, paxos.Unknown(err))
	}
}

// TestDecisionsNeedTheStore: a watch that does not name its storage, or names another one when it goes on, has Indexes of something else.
func TestDecisionsNeedTheStore(t *testing.T) {
	for _, stores := range [][]string{{""}, {"8f", "9a"}, {"8f", ""}} {
		calls := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			store := stores[min(calls, len(stores)-1)]
			if calls++; store != "" {
				w.Header().Set(storeHeader, store)
			}
			index := []string{"1", "2"}[min(calls, 2)-1]
			io.WriteString(w, `{"name":"a","decided":true,"value":"x","ballot":"1.1","index":`+index+"}\n")
		}))
		defer server.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		seen, last := 0, error(nil)
		for _, err := range clientOf(t, ClientConfig{Servers: []string{server.URL}}).Decisions(ctx, 0) {
			if last = err; err == nil {
				if seen++; seen == 3 {
					break
				}
			}
		}
		assert.Equal(t, len(stores)-1, seen, stores)
		assert.ErrorContains(t, last, storeHeader, stores)
		assert.Equal(t, stores[len(stores)-1] == "9a", errors.Is(last, paxos.ErrIndex))
	}
}

// TestRecipesGiveUpWhatIsNotAllowed: a caller that may not propose is told so at once, by a recipe too.
func TestRecipesGiveUpWhatIsNotAllowed(t *testing.T) {
	for _, refusal := range []error{ErrForbidden, ErrUnauthenticated} {
		server := httptest.NewServer(handlerOf(t, &fake{}, Config{Allow: func(*http.Request, Action) error { return refusal }}))
		defer server.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		job, err := once.New(clientOf(t, ClientConfig{Servers: []string{server.URL}}), "job")
		require.NoError(t, err)
		claim, err := job.Attempt(1, "worker")
		require.NoError(t, err)
		require.ErrorIs(t, claim.Take(ctx), refusal)
		assert.NoError(t, ctx.Err(), "it asks once")
	}
}
