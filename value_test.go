package paxos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"
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

// written is a Register of instances that are decided by their first Propose.
type written map[string]Value

func (w written) Propose(ctx context.Context, instance string, v Value) (Decision, error) {
	if err := CheckInstance(instance); err != nil {
		return Decision{}, &OpError{Op: "propose", Instance: instance, Err: err, Unsent: true}
	}
	if _, ok := w[instance]; !ok {
		w[instance] = v
	}
	return w.Wait(ctx, instance)
}

func (w written) Read(_ context.Context, instance string) (d Decision, ok bool, err error) {
	if err := CheckInstance(instance); err != nil {
		return Decision{}, false, &OpError{Op: "read", Instance: instance, Err: err, Unsent: true}
	}
	v, ok := w[instance]
	return Decision{Instance: instance, Value: v}, ok, nil
}

func (w written) Wait(ctx context.Context, instance string) (Decision, error) {
	d, _, err := w.Read(ctx, instance)
	return d, err
}

type config struct {
	Debug bool   `json:"debug"`
	Nonce string `json:"nonce,omitempty"`
}

func TestTyped(t *testing.T) {
	ctx, on := t.Context(), written{}
	configs := TypedOf[config](on)
	_, ok, err := configs.Read(ctx, "config/7")
	require.NoError(t, err)
	assert.False(t, ok)
	mine, err := configs.Propose(ctx, "config/7", config{Debug: true, Nonce: "a"})
	require.NoError(t, err)
	want := TypedDecision[config]{Decision{Instance: "config/7", Value: `{"debug":true,"nonce":"a"}`}, config{true, "a"}, true}
	assert.Equal(t, want, mine)
	want.Same = false
	lost, err := configs.Propose(ctx, "config/7", config{Debug: true, Nonce: "b"})
	require.NoError(t, err)
	assert.Equal(t, want, lost)
	read, ok, err := configs.Read(ctx, "config/7")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, want, read)
	waited, err := configs.Wait(ctx, "config/7")
	require.NoError(t, err)
	assert.Equal(t, want, waited)
	of, err := configs.Of(Decision{Instance: "config/7", Value: `{"debug":true,"nonce":"a"}`})
	require.NoError(t, err)
	assert.Equal(t, want, of)
}

// Same compares bytes: equal contents in other bytes are not the same.
func TestTypedComparesBytes(t *testing.T) {
	on := written{"config/7": `{ "debug": true }`}
	d, err := TypedOf[config](on).Propose(t.Context(), "config/7", config{Debug: true})
	require.NoError(t, err)
	assert.Equal(t, config{Debug: true}, d.Content)
	assert.False(t, d.Same)
}

// An error of a value that can't be decoded names the instance, and has the Decision beside it.
func TestTypedErrors(t *testing.T) {
	ctx, on := t.Context(), written{"config/7": `burger`}
	configs := TypedOf[config](on)
	d, err := configs.Propose(ctx, "config/7", config{})
	require.ErrorIs(t, err, ErrDecode)
	assert.EqualError(t, err, `paxos: propose "config/7": value can't be decoded as paxos.config: invalid character 'b' looking for beginning of value`)
	assert.False(t, Unknown(err), "something else is decided")
	assert.Equal(t, TypedDecision[config]{Decision: Decision{Instance: "config/7", Value: "burger"}}, d)
	d, ok, err := configs.Read(ctx, "config/7")
	require.ErrorIs(t, err, ErrDecode)
	assert.True(t, ok)
	assert.Equal(t, Value("burger"), d.Value)
	_, err = configs.Wait(ctx, "config/7")
	require.ErrorIs(t, err, ErrDecode)
	_, err = configs.Of(Decision{Instance: "config/7", Value: `{"debug":1}`})
	require.ErrorIs(t, err, ErrDecode)
	require.ErrorContains(t, err, `decode "config/7"`)

	_, err = TypedOf[func()](on).Propose(ctx, "f", nil)
	require.ErrorContains(t, err, `paxos: propose "f": encode func()`)
	assert.False(t, Unknown(err))
	assert.NotContains(t, on, "f")
	_, err = configs.Propose(ctx, "", config{})
	require.ErrorIs(t, err, ErrName)
	_, _, err = configs.Read(ctx, "")
	require.ErrorIs(t, err, ErrName)
	_, err = configs.Wait(ctx, "")
	require.ErrorIs(t, err, ErrName)
}

func TestTypedCodec(t *testing.T) {
	ctx, on := t.Context(), written{}
	numbers := TypedOf(on, Codec[int]{
		Encode: func(n int) (Value, error) {
			if n < 0 {
				return "", errors.New("below 0")
			}
			return Value(strconv.Itoa(n)), nil
		},
		Decode: func(v Value) (int, error) { return strconv.Atoi(string(v)) },
	})
	d, err := numbers.Propose(ctx, "n", 7)
	require.NoError(t, err)
	assert.Equal(t, 7, d.Content)
	assert.Equal(t, Value("7"), on["n"])
	_, err = numbers.Propose(ctx, "m", -1)
	require.ErrorContains(t, err, "below 0")
	assert.NotContains(t, on, "m")
	on["x"] = "y"
	_, err = numbers.Wait(ctx, "x")
	require.ErrorIs(t, err, ErrDecode)
	require.ErrorIs(t, err, strconv.ErrSyntax)
}

// No value makes a decision panic, and each error names the instance.
func FuzzTyped(f *testing.F) {
	for _, s := range []string{``, `null`, `{"debug":true,"nonce":"a"}`, `{"debug":1}`, `[[`, "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := TypedOf[config](nil).Of(Decision{Instance: "config/7", Value: Value(s)})
		require.Equal(t, Value(s), d.Value)
		if err != nil {
			require.ErrorIs(t, err, ErrDecode)
			require.ErrorContains(t, err, `"config/7"`)
			require.Zero(t, d.Content)
		}
	})
}
