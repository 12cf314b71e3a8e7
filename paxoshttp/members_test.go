package paxoshttp

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// TestChange: members change over HTTP. Each refusal has its code and its words, and changes nothing.
func TestChange(t *testing.T) {
	s := startNodes(t, 1)[0]
	var left []paxos.ServerID
	h := handlerOf(t, s, Config{Host: Host{
		Listen: func() string { return "one:7000" },
		Links: func() []Link {
			return []Link{{ID: 2, Addr: "two:7000", Err: "refused"}, {ID: 9, Addr: "nine:7000", Out: true, In: true}}
		},
		Stored:       func() (int, int64) { return 17, 4096 },
		Left:         func() ([]paxos.ServerID, error) { return left, nil },
		CheckAddress: func(addr string) error { _, _, err := net.SplitHostPort(addr); return err },
	}})
	for _, test := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/members", "", 200, `{"id":1,"listen":"one:7000","cluster":"memory","configuration":0,"acceptors":[1],"learners":[],"addresses":{},"quorum":"majority(1)","settled":true,"complete":[1],"index":0}`},
		{"GET", "/members?timeuot=1s", "", 400, `unknown parameter \"timeuot\"`},
		{"GET", "/settled?timeout=soon", "", 400, `timeout: \"soon\"`},
		{"GET", "/settled?timeout=1m", "", 200, `"settled":true`},
		{"GET", "/ready?timeout=1m", "", 200, `"id":1`},
		{"POST", "/change?timeuot=1s", `{"acceptors":[1],"learners":[2],"addresses":{}}`, 400, `unknown parameter \"timeuot\"`},
		{"GET", "/change", "", 405, ""},
		{"POST", "/change", `{"acceptors":[2,1],"learners":[],"addresses":{}}`, 400, `Members.Acceptors: server 1 after 2: want strictly ascending","code":"members"`},
		{"POST", "/change", `{"acceptors":[],"learners":[],"addresses":{}}`, 400, "Members.Acceptors: 0 servers"},
		{"POST", "/change", `{"acceptors":[1],"learners":[],"addresses":{"7":"seven:7"}}`, 400, "Members.Addresses: server 7"},
		{"POST", "/change", `{"acceptors":[1],"learners":[],"addresses":{"1":"one"}}`, 400, "addresses: server 1: address one: missing port"},
		{"POST", "/change", `{"acceptors":[1],"learners":[],"addresses":{},"quorum":"majority(2)"}`, 400, "Members.Quorum: majority(2) counts 2"},
		{"POST", "/change?timeout=1m", `{"acceptors":[1],"learners":[],"addresses":{}}`, 200, `{"configuration":1,"acceptors":[1],"learners":[],"addresses":{}}`},
		{"POST", "/change?timeout=1m", `{"acceptors":[1],"learners":[2],"addresses":{"2":"127.0.0.1:1"}}`, 200,
			`{"configuration":2,"acceptors":[1],"learners":[2],"addresses":{"2":"127.0.0.1:1"}}`},
		{"GET", "/members", "", 200, `"others":[{"id":2,"addr":"two:7000"}]`},
		{"GET", "/status", "", 200, `"decided":17,"open":0,"calls":0,"disk":4096,"peers":[{"id":2,"addr":"two:7000","out":false,"in":false,"err":"refused"},{"id":9,"addr":"nine:7000","out":true,"in":true}]`},
		{"POST", "/change?timeout=1m", `{"acceptors":[1,2],"learners":[],"addresses":{"2":"127.0.0.1:1"}}`, 503, `"code":"not_ready"`},
		{"POST", "/change?timeout=1m", `{"acceptors":[1],"learners":[],"addresses":{}}`, 200, `"configuration":3`},
	} {
		code, text := asks(h, test.method, test.path, test.body)
		assert.Equal(t, test.code, code, "%s %s: %.300s", test.path, test.body, text)
		assert.Contains(t, text, test.want, "%s %s", test.path, test.body)
		if code != 200 {
			assert.Equal(t, code, failed(t, text).Code.Status())
		}
	}
	left = []paxos.ServerID{2}
	code, text := asks(h, "POST", "/change", `{"acceptors":[1],"learners":[2],"addresses":{}}`)
	assert.Equal(t, 409, code)
	assert.Equal(t, CodeFinished, failed(t, text).Code)
	assert.Contains(t, text, "server 2 was a member before: its ServerID is finished")
	code, text = asks(h, "GET", "/members", "")
	assert.Equal(t, 200, code)
	assert.Contains(t, text, `"left":[2]`)
	code, text = asks(h, "POST", "/change", strings.Repeat(" ", most+1))
	assert.Equal(t, 413, code, text)
	c, settled := s.Configuration()
	assert.Equal(t, uint64(3), c.Number)
	assert.True(t, settled)
}

// TestChangeOfAQuorum: if the quorum is no majority, a change has to say which one comes next.
func TestChangeOfAQuorum(t *testing.T) {
	flexible, err := paxos.Flexible(3, 3, 1)
	require.NoError(t, err)
	var asked paxos.Members
	s := &fake{now: paxos.Configuration{Members: paxos.Members{Cluster: "c", Acceptors: []paxos.ServerID{1, 2, 3}, Quorum: flexible}}}
	s.change = func(next paxos.Members) (paxos.Configuration, error) {
		asked = next
		return paxos.Configuration{Number: 1, Members: next}, nil
	}
	h := handlerOf(t, s, Config{})
	body := `{"acceptors":[1,2,3],"learners":[4],"addresses":{}`
	code, text := asks(h, "POST", "/change", body+"}")
	assert.Equal(t, 400, code)
	assert.Contains(t, text, "quorum: it is missing: the present one is "+flexible.String())
	code, text = asks(h, "POST", "/change", body+`,"quorum":"`+flexible.String()+`"}`)
	assert.Equal(t, 200, code, text)
	assert.Equal(t, flexible, asked.Quorum)
	var m changed
	require.NoError(t, json.Unmarshal([]byte(text), &m))
	assert.Equal(t, changed{1, NewChange(asked)}, m)
	code, text = asks(h, "POST", "/change", body+`,"quorum":"majority(3)"}`)
	assert.Equal(t, 200, code, text)
	assert.Equal(t, paxos.Majority(3), asked.Quorum)
}

// TestConflict: after a conflict it is known that the change was not decided. After another error it may be.
func TestConflict(t *testing.T) {
	for err, want := range map[error]failure{
		paxos.ErrConflict:        {Code: CodeConflict},
		context.DeadlineExceeded: {Code: CodeTimeout, Unknown: true},
		errors.New("disk"):       {Code: CodeInternal, Unknown: true},
	} {
		s := &fake{change: func(paxos.Members) (paxos.Configuration, error) {
			return paxos.Configuration{}, &paxos.OpError{Op: "change", Err: err}
		}}
		code, text := asks(handlerOf(t, s, Config{}), "POST", "/change", `{"acceptors":[1],"learners":[],"addresses":{}}`)
		assert.Equal(t, want.Code.Status(), code)
		f := failed(t, text)
		assert.Equal(t, want, failure{Code: f.Code, Unknown: f.Unknown})
	}
}

// TestUnsettled: the words for a change that is not settled.
func TestUnsettled(t *testing.T) {
	m := Membership{ID: 4, Configuration: 3, Complete: []paxos.ServerID{1}, Change: Change{Acceptors: []paxos.ServerID{1, 4}},
		Import: newImporting(paxos.ImportStatus{Sources: 2, Done: 1, Records: 10, Goal: 30})}
	assert.Equal(t, "configuration 3 is not settled: complete are servers 1 of 1 4; server 4: it has imported 10 of 30 decisions, and all of 1 of 2 servers", m.Unsettled())
	text, err := json.Marshal(m)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"import":{"sources":2,"done":1,"records":10,"goal":30}`)
	assert.Nil(t, newImporting(paxos.ImportStatus{}))
}

// TestStatus: the answer has all that the Node tells.
func TestStatus(t *testing.T) {
	s := &fake{status: func() paxos.Status {
		n := paxos.Status{ID: 7, Store: 0xabc, Members: "words", Boot: 3, Index: 9, Calls: 2, Open: 3, Orphaned: 1, NoQuorum: time.Second, StorageWait: time.Millisecond,
			Err: errors.New("gone"), Settled: false, Broken: []*paxos.SafetyError{{Reason: "proof"}},
			Instances: []paxos.OpenInstance{{Instance: "a", Age: time.Minute, Calls: 1}, {Instance: "b", Age: time.Second, Orphaned: true}},
			Peers:     []paxos.PeerStatus{{ID: 9, Heard: -1}, {ID: 8, Heard: 1500 * time.Microsecond, Dropped: 4, Refused: "why", Limits: "less", Complete: true}}}
		return n
	}}
	code, text := asks(handlerOf(t, s, Config{}), "GET", "/status", "")
	assert.Equal(t, 200, code)
	var st Status
	require.NoError(t, json.Unmarshal([]byte(text), &st))
	assert.Equal(t, Status{ID: 7, Store: "abc", Members: "words", Boot: 3, Index: 9, Calls: 2, Open: 2, Orphaned: 1, NoQuorum: "1s", StorageWait: "1ms", Err: "gone",
		Unsettled: "complete are servers 8 of 1", Broken: []string{(&paxos.SafetyError{Reason: "proof"}).Error()},
		Oldest: []OpenOne{{Name: "a", Age: "1m0s", Ballot: "-", Calls: 1}, {Name: "b", Age: "1s", Ballot: "-", Orphaned: true}},
		Peers:  []Peer{{ID: 8, Heard: "2ms", Dropped: 4, Refused: "why", Limits: "less"}, {ID: 9}}}, st)
}
