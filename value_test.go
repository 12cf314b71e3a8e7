package paxos

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestValueInJSON(t *testing.T) {
	for _, c := range []struct {
		v    Value
		json string
	}{
		{"", `""`},
		{"burger", `"burger"`},
		{"é � 😀", `"é � 😀"`},
		{"<a href=\"x\">&</a>", `"\u003ca href=\"x\"\u003e\u0026\u003c/a\u003e"`},
		{"\x00\n\u2028", `"\u0000\n\u2028"`},
		{`{"base64":"AA=="}`, `"{\"base64\":\"AA==\"}"`},
		{"null", `"null"`},
		{"\xff", `{"base64":"/w=="}`},
		{"half \xe2\x82", `{"base64":"aGFsZiDigg=="}`},
		{"\xed\xa0\x80", `{"base64":"7aCA"}`}, // a surrogate in UTF-8's clothes
	} {
		out, err := json.Marshal(c.v)
		require.NoError(t, err)
		assert.Equal(t, c.json, string(out), "%q", c.v)
		back := Value("before")
		require.NoError(t, json.Unmarshal(out, &back))
		assert.Equal(t, c.v, back)
	}
}

func TestValueInJSONLosesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 20000 {
		v := Value(anyText(rng))
		for _, escape := range []bool{true, false} {
			var out bytes.Buffer
			e := json.NewEncoder(&out)
			e.SetEscapeHTML(escape)
			require.NoError(t, e.Encode([]Value{v}))
			var back []Value
			require.NoError(t, json.Unmarshal(out.Bytes(), &back), "%s", out.Bytes())
			require.Equal(t, []Value{v}, back, "%s", out.Bytes())
		}
	}
}

func TestValueReadsAnySpellingInJSON(t *testing.T) {
	for in, want := range map[string]Value{
		` "a" `:                       "a",
		`"\u0061\/"`:                  "a/",
		`"\ud83d\ude00"`:              "😀",
		`"\uD83D\uDE00\ufffd\\ud800"`: "😀�\\ud800",
		` { "base64" : "YQ==" } `:     "a",
		`{"\u0062ase64":"/w\u003d="}`: "\xff",
		`{"base64":""}`:               "",
		`null`:                        "before",
		` null `:                      "before",
	} {
		v := Value("before")
		require.NoError(t, v.UnmarshalJSON([]byte(in)), in)
		assert.Equal(t, want, v, in)
	}
}

func TestValueRefusesOtherJSON(t *testing.T) {
	for in, want := range map[string]string{
		``: "want a string", `7`: "want a string", `true`: "want a string", `["a"]`: "want a string", `"a`: "want a string",
		`"a" "b"`: "want a string", `{}`: "want a string", `{"base64":7}`: "want a string", `{"base64":null}`: "want a string",
		`{"base64":"","more":""}`: "want a string", `{"Base64":""}`: "want a string",
		`{"base64":"YQ"}`: "illegal base64", `{"base64":"YR=="}`: "illegal base64", `{"base64":"_w=="}`: "illegal base64",
		// encoding/json would read each of these with U+FFFD in it: another value.
		"\"\xff\"": "not valid Unicode", `"\ud83d"`: "not valid Unicode", `"\ude00\ud83d"`: "not valid Unicode",
		`"\ud83d\u0061"`: "not valid Unicode", `"\\\ud83d"`: "not valid Unicode", `"\ud83d\ud83d\ude00"`: "not valid Unicode",
	} {
		v := Value("before")
		assert.ErrorContains(t, v.UnmarshalJSON([]byte(in)), want, in)
		assert.Equal(t, Value("before"), v, in)
	}
}
