package paxos

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// messageTexts shows every form that a text can have.
var messageTexts = []struct {
	text string
	m    Message
}{
	{`prepare 2.2 "pizza" @lunch`, Message{Kind: KindPrepare, Instance: "lunch", Ballot: Ballot{2, 2}, Value: "pizza"}},
	{`prepare 2.2 @lunch`, Message{Kind: KindPrepare, Instance: "lunch", Ballot: Ballot{2, 2}}},
	{`promise 2.1 (1.1 "burger") @lunch`,
		Message{Kind: KindPromise, Instance: "lunch", Ballot: Ballot{2, 1}, Accepted: Ballot{1, 1}, Value: "burger"}},
	{`promise 2.1 (0.1 "")`, Message{Kind: KindPromise, Ballot: Ballot{2, 1}, Accepted: Ballot{0, 1}}},
	{`promise 2.1`, Message{Kind: KindPromise, Ballot: Ballot{2, 1}}},
	{`accept 1.1 ""`, Message{Kind: KindAccept, Ballot: Ballot{1, 1}}},
	{`accepted 1.1 @a-b_c.d/9Z`, Message{Kind: KindAccepted, Instance: "a-b_c.d/9Z", Ballot: Ballot{1, 1}}},
	{`nack 1.1 above 2.2 @lunch`, Message{Kind: KindNack, Instance: "lunch", Ballot: Ballot{1, 1}, Promised: Ballot{2, 2}}},
	{`chosen 1.1 @"two words"`, Message{Kind: KindChosen, Instance: "two words", Ballot: Ballot{1, 1}}},
	{`decided 1.1 "" @"é"`, Message{Kind: KindDecided, Instance: "é", Ballot: Ballot{1, 1}}},
	{`query forgotten @"\""`,
		Message{Kind: KindQuery, Instance: `"`, Ballot: Ballot{math.MaxUint64, math.MaxUint64}}},
	{`nack c3:2.1 above forgotten (c2:0.0 "v")`, Message{Kind: KindNack, Ballot: Ballot{3<<48 + 2, 1}, Promised: forgottenBallot(), Accepted: Base(2), Value: "v"}},
	{`state 3.1 above 2.2 (1.1 "a\n\x00\xff") @"@"`, Message{Kind: KindState, Instance: "@", Ballot: Ballot{3, 1},
		Promised: Ballot{2, 2}, Accepted: Ballot{1, 1}, Value: "a\n\x00\xff"}},
	{`pull -`, Message{Kind: KindPull}},
	{`refuse - "why"`, Message{Kind: KindRefuse, Value: "why"}},
	{`kind(77) - "\" @x" @"\xff"`, Message{Kind: 77, Instance: "\xff", Value: `" @x`}},
	{`kind(0) -`, Message{}},
}

func TestMessageText(t *testing.T) {
	for _, c := range messageTexts {
		assert.Equal(t, c.text, c.m.String())
		m, err := ParseMessage(c.text)
		assert.NoError(t, err, c.text)
		assert.Equal(t, c.m, m, c.text)
	}
}

// anyMessage returns a message that no server would send, as likely as one that some would.
func anyMessage(rng *rand.Rand) Message {
	ballot := func() Ballot {
		switch rng.IntN(4) {
		case 0:
			return Ballot{}
		case 1:
			return Ballot{rng.Uint64() >> rng.IntN(64), ServerID(rng.Uint64() >> rng.IntN(64))}
		}
		return Ballot{rng.Uint64N(5), ServerID(rng.Uint64N(5))}
	}
	return Message{Kind: Kind(rng.IntN(256) >> rng.IntN(8)), Instance: anyText(rng), Ballot: ballot(), Promised: ballot(),
		Accepted: ballot(), Value: Value(anyText(rng))}
}

// anyText returns bytes of any kind: names, quotes, escapes, halves of UTF-8.
func anyText(rng *rand.Rand) string {
	pieces := []string{"lunch", "a/b", "\"", "\\", "`", "'", " ", "@", "(", ")", "\n", "\x00",
		"\xff", "\xe2\x82", "é", "�", "😀", "\u2028", "<&>", "$"}
	var b strings.Builder
	for range rng.IntN(5) {
		b.WriteString(pieces[rng.IntN(len(pieces))])
	}
	if rng.IntN(8) == 0 {
		b.WriteString(strings.Repeat("x", rng.IntN(400)))
	}
	return b.String()
}

func TestMessageTextLosesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 20000 {
		m := anyMessage(rng)
		got, err := ParseMessage(m.String())
		require.NoError(t, err)
		require.Equal(t, m, got, m.String())
		require.NotContains(t, m.String(), "\n")
	}
}

// One byte is put in, left out or changed. If ParseMessage still takes the text, it is the text of another message.
func TestParseMessageTakesOnlyWhatStringPrints(t *testing.T) {
	const bytes = " \t-+.0159@\"`'()\\ax"
	for _, c := range messageTexts {
		for i := range len(c.text) + 1 {
			for _, b := range []byte(bytes) {
				edits := []string{c.text[:i] + string(b) + c.text[i:], c.text[:i]}
				if i < len(c.text) {
					edits = append(edits, c.text[:i]+c.text[i+1:], c.text[:i]+string(b)+c.text[i+1:])
				}
				for _, s := range edits {
					if m, err := ParseMessage(s); err == nil {
						require.Equal(t, s, m.String())
					} else {
						require.Zero(t, m)
					}
				}
			}
		}
	}
}

func TestParseMessageSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{``, `paxos: message "": want a kind first, such as prepare or kind(77)`},
		{`promises 1.1`, `want a kind first`},
		{`Promise 1.1`, `want a kind first`},
		{`kind(1) 1.1`, `want a kind first`},
		{`kind(077) 1.1`, `want a kind first`},
		{`kind(256) 1.1`, `want a kind first`},
		{`kind(77 1.1`, `want a kind first`},
		{`promise`, `want " " before ""`},
		{`promise `, `ballot "": want ROUND.SERVER`},
		{`promise 1`, `ballot "1": want ROUND.SERVER in decimal, or -`},
		{`promise  1.1`, `ballot "": want ROUND.SERVER`},
		{`nack 1.1 above 2`, `promised ballot "2": want ROUND.SERVER`},
		{`nack 1.1 above -`, `it is written "nack 1.1"`},
		{`promise 1.1 (1.x "v")`, `accepted ballot "1.x": want ROUND.SERVER`},
		{`promise 1.1 (1.1 v)`, `value: want text quoted as in Go before "v)"`},
		{`promise 1.1 (1.1 "v"`, `want ")" before ""`},
		{`promise 1.1 (- "v")`, `it is written "promise 1.1 \"v\""`},
		{`accept 1.1 "v`, `value: want text quoted as in Go before "\"v"`},
		{`accept 1.1`, `it is written "accept 1.1 \"\""`},
		{`prepare 1.1 ""`, `it is written "prepare 1.1"`},
		{`prepare 1.1 "\x41"`, `it is written "prepare 1.1 \"A\""`},
		{`prepare 1.1 @`, `instance: nothing follows the @`},
		{`prepare 1.1 @ `, `instance: nothing follows the @`},
		{`prepare 1.1 @""`, `it is written "prepare 1.1"`},
		{`prepare 1.1 @"a"`, `it is written "prepare 1.1 @a"`},
		{`prepare 1.1 @a"`, `it is written "prepare 1.1 @\"a\\\"\""`},
		{`prepare 1.1 @a @b`, `" @b" is left over`},
		{`prepare 1.1 @a "v"`, `" \"v\"" is left over`},
		{`prepare 1.1 "v" above 1.1`, `" above 1.1" is left over`},
		{"prepare 1.1\n", `ballot "1.1\n": want ROUND.SERVER`},
	} {
		_, err := ParseMessage(c.text)
		assert.ErrorContains(t, err, c.want, "%q", c.text)
		assert.ErrorContains(t, err, "paxos: message ", "%q", c.text)
	}
	_, err := ParseMessage(strings.Repeat("x", 1<<20))
	require.Error(t, err)
	assert.Less(t, len(err.Error()), 500, "errors stay short")
}

func TestKindText(t *testing.T) {
	names := []string{"prepare", "promise", "accept", "accepted", "nack", "chosen", "decided", "query", "state", "pull",
		"refuse"}
	for i, name := range names {
		assert.Equal(t, name, Kind(i+1).String())
	}
	assert.Equal(t, "kind(0)", Kind(0).String())
	assert.Equal(t, "kind(77)", Kind(77).String())
	for i := range 256 {
		text, err := Kind(i).MarshalText()
		require.NoError(t, err)
		k := Kind(255 - i)
		require.NoError(t, k.UnmarshalText(text))
		require.Equal(t, Kind(i), k)
	}
	for _, bad := range []string{"", "Promise", "promise ", "7", "kind()", "kind(3)", "kind(-1)",
		"kind(256)", "kind(+77)", "77)", "kind(77"} {
		k := KindNack
		assert.ErrorContains(t, k.UnmarshalText([]byte(bad)), "is no kind of message", "%q", bad)
		assert.Equal(t, KindNack, k)
	}
}

func TestPacketText(t *testing.T) {
	p := Packet{From: 1, To: 2, Messages: []Message{messageTexts[2].m, messageTexts[7].m}}
	assert.Equal(t, "1 -> 2: promise 2.1 (1.1 \"burger\") @lunch\n1 -> 2: nack 1.1 above 2.2 @lunch", p.String())
	assert.Equal(t, "3 -> 4:", Packet{From: 3, To: 4}.String())
}

func TestMessageInJSON(t *testing.T) {
	out, err := json.Marshal(messageTexts[2].m)
	require.NoError(t, err)
	assert.JSONEq(t, `{"Kind": "promise", "Instance": "lunch", "Ballot": "2.1", "Promised": "-", "Accepted": "1.1",
		"Value": "burger"}`, string(out))

	rng := rand.New(rand.NewPCG(4, 4))
	for range 2000 {
		m := anyMessage(rng)
		// An instance is valid UTF-8, unlike a value; encoding/json holds no other strings.
		m.Instance = strings.ToValidUTF8(m.Instance, "")
		out, err := json.Marshal(m)
		require.NoError(t, err)
		var back Message
		require.NoError(t, json.Unmarshal(out, &back), "%s", out)
		require.Equal(t, m, back, "%s", out)
	}
}

func FuzzMessageText(f *testing.F) {
	for _, c := range messageTexts {
		f.Add(c.text)
	}
	f.Add("accept 1.1 `v`")
	f.Add(`promise 1.1 (1.1 'v')`)
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMessage(s)
		if err != nil {
			require.Zero(t, m)
			return
		}
		require.Equal(t, s, m.String())
	})
}
