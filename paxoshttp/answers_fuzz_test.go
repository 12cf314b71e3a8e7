package paxoshttp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A says transport gives each request the same answer, and calls asked before it.
type says struct {
	status int
	body   string
	asked  func()
}

func (s says) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: s.status, Status: http.StatusText(s.status), ProtoMajor: 1, Request: r, Header: http.Header{storeHeader: {"8f"}},
		Body: io.NopCloser(strings.NewReader(s.body))}, nil
}

func saying(t *testing.T, s says) *Client {
	return clientOf(t, ClientConfig{Servers: []string{"http://one.test"}, HTTP: &http.Client{Transport: s}})
}

// FuzzAnswer: whatever answers a propose, the client returns a decision about that name, or an OpError. The outcome is certain only after an
// answer that says so.
func FuzzAnswer(f *testing.F) {
	f.Add(200, answered)
	f.Add(200, `{"name":"a","decided":true,"base64":"/wA=","ballot":"c3:2.1"}`)
	f.Add(410, `{"error":"is gone","code":"forgotten","forgotten":["a","b"],"unknown":true}`)
	f.Add(500, `{"error":"so","code":"broken","proof":{"ballot":"1.1","values":["eA==",""],"reason":"so"}}`)
	f.Add(504, `{"error":"so","code":"timeout","call":{"op":"propose","phase":"accept","ballot":"1.1","storageMillis":9223372036854775807}}`)
	f.Add(200, strings.Replace(answered, `"a"`, `"b"`, 1))
	f.Add(504, `{"error":"so"}`)
	f.Add(499, `{`)
	f.Add(418, `<html>`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 999 {
			return
		}
		d, err := saying(t, says{status, body, func() {}}).Propose(t.Context(), "a", "x")
		if err == nil {
			require.Equal(t, 200, status)
			require.Equal(t, "a", d.Instance)
			require.True(t, utf8.ValidString(body), "nothing was put in the place of bytes")
			return
		}
		var op *paxos.OpError
		require.ErrorAs(t, err, &op)
		require.NotEmpty(t, err.Error())
		require.LessOrEqual(t, int64(0), int64(op.Storage))
		told := strings.Contains(strings.ToLower(body), "code") || strings.Contains(body, `\u`)
		if !told && (status < 400 || status >= 500 || status == 408 || status == 499) {
			require.True(t, op.Unknown(), "%d", status)
		}
	})
}

// FuzzWatch: whatever comes as a watch, its Indexes rise, and each line is a decision, names that were forgotten, or the end.
func FuzzWatch(f *testing.F) {
	line := `{"name":"a","decided":true,"value":"x","ballot":"1.1","index":`
	f.Add(line + "1}\n\n" + line + "2}\n")
	f.Add(line + "1}\n" + `{"decided":false,"index":2,"forgotten":["a","b"]}` + "\n" + `{"error":"so","code":"closed"}` + "\n")
	f.Add(line + "18446744073709551615}\n" + line + "1}\n")
	f.Add("{}\n")
	f.Add(strings.Replace(line, `"name":"a",`, "", 1) + "7}\n")
	f.Add(line + "7")
	f.Fuzz(func(t *testing.T, body string) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		calls := 0
		c := saying(t, says{200, body, func() {
			if calls++; calls > 1 { // it was lost, and once is enough
				cancel()
			}
		}})
		last, ended := uint64(0), false
		for learned, err := range c.Decisions(ctx, 0) {
			require.False(t, ended, "nothing follows the end")
			var forgotten *paxos.ForgottenError
			if err != nil && (!errors.As(err, &forgotten) || learned.Index == 0) {
				ended = true
				require.False(t, paxos.Unknown(err))
				continue
			}
			require.Greater(t, learned.Index, last)
			require.Equal(t, err == nil, learned.Instance != "")
			last = learned.Index
		}
		require.True(t, ended)
	})
}

// TestClientTakesNoBrokenText: package json puts U+FFFD in the place of what is no text. A decision is for ever, so that is no answer.
func TestClientTakesNoBrokenText(t *testing.T) {
	for _, value := range []string{"\xff", `\ud800`, `\ude00x`} {
		body := `{"name":"a","decided":true,"value":"` + value + `","ballot":"1.1","index":1}`
		_, err := saying(t, says{200, body, func() {}}).Propose(t.Context(), "a", "x")
		if assert.Error(t, err, value) {
			assert.True(t, paxos.Unknown(err))
		}
		_, _, err = saying(t, says{200, body, func() {}}).Read(t.Context(), "a")
		assert.Error(t, err, value)
		for _, err := range saying(t, says{200, body + "\n", func() {}}).Decisions(t.Context(), 0) {
			if !assert.Error(t, err, value) {
				break
			}
		}
	}
}
