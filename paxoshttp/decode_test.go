package paxoshttp

import (
	"context"
	"encoding/json"
	"net/url"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// nearly are bodies of a propose that may mean something else than they say, with what is wrong with each.
var nearly = map[string]string{
	`{"name":"a","value":"caf` + "\xe9" + `"}`:         "it is not valid UTF-8",
	`{"name":"caf` + "\xe9" + `","value":"v"}`:         "it is not valid UTF-8",
	`{"name":"a","value":"caf\ud83d"}`:                 "half of a",
	`{"name":"a","value":"\\\udc00"}`:                  "half of a",
	`{"name":"a","value":"\ud83d\ud83d"}`:              "half of a",
	`{"name":"a","vlaue":"v"}`:                         `unknown field \"vlaue\"`,
	`{"name":"a","Value":"v"}`:                         `unknown field \"Value\"`,
	`{"name":"a","value":"v","base64":"dw=="}`:         "both are given",
	`{"name":"a","value":"v","value":"w"}`:             "value: it is given twice",
	`{"name":"a"}`:                                     "value: it is missing",
	`{"name":"a","value":null}`:                        "value: it is not a string",
	`{"name":"a","value":7}`:                           "value: it is not a string",
	`{"name":"a","value":{"x":1}}`:                     "value: it is not a string",
	`{"value":"v"}`:                                    "name: it is missing",
	`{"name":"","value":"v"}`:                          "name is empty",
	`{"name":"a","base64":"dw="}`:                      "base64: ",
	`{"name":"a","base64":"dx=="}`:                     "base64: ",
	`{"name":"a","value":"v"}{"name":"b","value":"w"}`: "something follows",
	`{"name":"a","value":"v"} x`:                       "something follows",
	`{"name":"a","value":"v"`:                          "unexpected EOF",
	`["name","a","value","v"]`:                         "not a JSON object",
	``:                                                 "it is empty",
}

// TestProposeRefusesWhatIsNearlyRight: nothing is decided then.
func TestProposeRefusesWhatIsNearlyRight(t *testing.T) {
	h := handlerOf(t, startNodes(t, 1)[0], Config{})
	for body, want := range nearly {
		code, text := asks(h, "POST", "/propose", body)
		assert.Equal(t, 400, code, "%s: %s", body, text)
		assert.Contains(t, text, want, "%s", body)
	}
	code, text := asks(h, "POST", "/propose?timeuot=1s", `{"name":"a","value":"v"}`)
	assert.Equal(t, 400, code, "%s", text)
	status := h.server.Status()
	assert.Zero(t, status.Counters.Decided, "nothing was decided")
	assert.Zero(t, status.Counters.Attempts, "nothing was tried")
}

// TestProposeTakesWhatIsRight, byte for byte.
func TestProposeTakesWhatIsRight(t *testing.T) {
	h := handlerOf(t, startNodes(t, 1)[0], Config{})
	for i, test := range []struct{ value, want string }{
		{`"value":"v"`, "v"},
		{`"value":""`, ""},
		{`"base64":""`, ""},
		{`"base64":"/wA="`, "\xff\x00"},
		{`"value":"\ud83c\udf54 \\ud83c \ufffd \u0000"`, "🍔 \\ud83c \ufffd \x00"},
		{` "value" : "caf\u00e9" ` + "\n", "café"},
	} {
		name := string(rune('a' + i))
		code, text := asks(h, "POST", "/propose", `{"name":"`+name+`",`+test.value+"}\n")
		require.Equal(t, 200, code, "%s: %s", test.value, text)
		d, ok, err := h.server.Peek(context.Background(), name)
		require.NoError(t, err)
		require.True(t, ok)
		assert.Equal(t, test.want, string(d.Value))
	}
}

// nearlyChanges are bodies of a change that may mean something else than they say.
var nearlyChanges = map[string]string{
	``:                                  "body: it is empty",
	`[1]`:                               "not a JSON object",
	`{"acceptors":[1],"learners":[]}`:   "addresses: it is missing; none is {}",
	`{"acceptors":[1],"addresses":{}}`:  "learners: it is missing; none is []",
	`{"learners":[],"addresses":{}}`:    "acceptors: it is missing",
	`{"acceptors":[1],"acceptors":[1]}`: "acceptors: it is given twice",
	`{"acceptors":[1],"learners":[],"adresses":{}}`:               `unknown field \"adresses\": want acceptors, learners, addresses`,
	`{"acceptors":[1],"learners":[],"addresses":{},"quorum":""}`:  "quorum: it is not a text",
	`{"acceptors":[1],"learners":[],"addresses":{},"quorum":7}`:   "quorum: it is not a text",
	`{"acceptors":[1],"learners":[],"addresses":{},"quorum":"x"}`: `quorum: `,
	`{"Acceptors":[1]}`:                               `unknown field \"Acceptors\"`,
	`{"acceptors":1}`:                                 "acceptors: it is not an array",
	`{"acceptors":null}`:                              "acceptors: it is not an array",
	`{"acceptors":["1"]}`:                             "acceptors: 1 is not the ID of a server",
	`{"acceptors":[1.0]}`:                             `acceptors: \"1.0\" is not the ID of a server`,
	`{"acceptors":[1e0]}`:                             `acceptors: \"1e0\" is not the ID of a server`,
	`{"acceptors":[0]}`:                               `acceptors: \"0\" is not the ID of a server`,
	`{"acceptors":[-1]}`:                              `acceptors: \"-1\" is not the ID of a server`,
	`{"acceptors":[18446744073709551617]}`:            "is not the ID of a server",
	`{"acceptors":[[1]]}`:                             "is not the ID of a server",
	`{"acceptors":[1`:                                 "unexpected EOF",
	`{"acceptors":[1],"learners":[],"addresses":[]}`:  "addresses: it is not a JSON object",
	`{"addresses":{"one":"a:1"}}`:                     `addresses: \"one\" is not the ID of a server`,
	`{"addresses":{"01":"a:1"}}`:                      `addresses: \"01\" is not the ID of a server`,
	`{"addresses":{"1":"a:1","1":"b:1"}}`:             "addresses: 1: it is given twice",
	`{"addresses":{"1":7}}`:                           "addresses: server 1: it is not a string",
	`{"addresses":{"1":"\ud83d:1"}}`:                  "half of a",
	`{"addresses":{"1":"` + "\xff" + `:1"}}`:          "it is not valid UTF-8",
	`{"acceptors":[1],"learners":[],"addresses":{}}x`: "something follows",
}

// TestChangeRefusesWhatIsNearlyRight: nothing changes then.
func TestChangeRefusesWhatIsNearlyRight(t *testing.T) {
	h := handlerOf(t, startNodes(t, 1)[0], Config{})
	for body, want := range nearlyChanges {
		code, text := asks(h, "POST", "/change", body)
		assert.Equal(t, 400, code, "%s: %s", body, text)
		assert.Contains(t, text, want, "%s", body)
	}
	c, _ := h.server.Configuration()
	assert.Zero(t, c.Number, "nothing has changed")
}

// FuzzProposal: a body is refused, or it is a name and a value that package json would read, too, and that a client sends again.
func FuzzProposal(f *testing.F) {
	for body := range nearly {
		f.Add([]byte(body))
	}
	f.Add([]byte(`{"name":"a","value":"\ud83c\udf54"}`))
	f.Add([]byte(`{"base64":"/wA=","name":"\u0061"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		name, value, err := parseProposal(body)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.True(t, utf8.ValidString(name))
		require.LessOrEqual(t, len(name)+len(value), len(body))
		var p proposal
		require.NoError(t, json.Unmarshal(body, &p))
		require.Equal(t, p.Name, name)
		if p.Value != nil {
			require.Equal(t, *p.Value, string(value))
		} else {
			require.Equal(t, string(*p.Base64), string(value))
		}
		again, same, err := parseProposal(encode(newProposal(name, value)))
		require.NoError(t, err)
		require.Equal(t, name, again)
		require.Equal(t, value, same)
	})
}

// FuzzChange: a body is refused, or a client sends the same change again.
func FuzzChange(f *testing.F) {
	for body := range nearlyChanges {
		f.Add([]byte(body))
	}
	f.Add([]byte(`{"acceptors":[1,2],"learners":[3],"addresses":{"1":"a:1"},"quorum":"majority(2)"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parseChange(body)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.LessOrEqual(t, len(c.Acceptors)+len(c.Learners)+len(c.Addresses), len(body))
		again, err := parseChange(encode(c))
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}

// FuzzQuery: a query is refused, or its ranges are those that a client sends again.
func FuzzQuery(f *testing.F) {
	f.Add("after=7&store=8f&timeout=1s&prefix=a&from=b&to=c", "7")
	f.Add("name=%ff&name=x;", "0x7")
	f.Fuzz(func(t *testing.T, raw, last string) {
		q, err := parseQuery(raw, []string{"name", "after", "store", "timeout"}, "prefix", "from", "to")
		if err != nil {
			require.Equal(t, CodeMalformed, codeOf(err))
			return
		}
		within, err := q.ranges()
		if err == nil {
			require.LessOrEqual(t, len(within), maxRanges)
			again, err := parseQuery(url.Values(rangesQuery(within)).Encode(), nil, "from", "to")
			require.NoError(t, err)
			same, err := again.ranges()
			require.NoError(t, err)
			require.Equal(t, within, same)
		}
		if names, err := q.forgets(); err == nil {
			b := newBounds(names)
			same, ok := b.names()
			require.True(t, ok)
			require.Equal(t, names, same)
		}
		q.number("after", 10)
		q.timeout(1)
	})
}

// rangesQuery is how a client asks for ranges of names.
func rangesQuery(within []paxos.NameRange) url.Values {
	v := url.Values{}
	for _, r := range within {
		v.Add("from", r.From)
		v.Add("to", r.To)
	}
	return v
}
