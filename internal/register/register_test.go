package register

import (
	"errors"
	"fmt"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestModel: the model takes what is right, and refuses what must never happen.
func TestModel(t *testing.T) {
	type call struct {
		from, to int64
		in       Call
		out      Result
	}
	propose := func(v string) Call { return Call{Op: "propose", Value: v} }
	read, wait := Call{Op: "read"}, Call{Op: "wait"}
	got := func(v string) Result { return Result{OK: true, Value: v} }
	forgets, forget, forgotten := Call{Op: "forgets"}, Call{Op: "forget"}, Result{Forgotten: true}
	nothing, unknown, never := Result{}, Result{Unknown: true}, int64(Never)
	for name, test := range map[string]struct {
		calls []call
		right bool
	}{
		"the loser is told":                       {[]call{{1, 2, propose("a"), got("a")}, {3, 4, propose("b"), got("a")}, {5, 6, read, got("a")}, {7, 8, wait, got("a")}}, true},
		"read beside propose":                     {[]call{{1, 4, propose("a"), got("a")}, {2, 3, read, nothing}}, true},
		"a value that was given up appears later": {[]call{{1, never, propose("a"), unknown}, {3, 4, read, nothing}, {5, 6, read, got("a")}}, true},
		"a value that was given up never appears": {[]call{{1, never, propose("a"), unknown}, {3, 4, propose("b"), got("b")}}, true},
		"the empty value is a value":              {[]call{{1, 2, propose(""), got("")}, {3, 4, read, got("")}}, true},

		"forgotten before it was written":       {[]call{{1, never, forgets, nothing}, {1, 4, forget, got("")}, {2, 3, read, forgotten}, {5, 6, propose("a"), forgotten}}, true},
		"forgotten, and the old value is known": {[]call{{1, 2, propose("a"), got("a")}, {3, never, forgets, nothing}, {3, 4, forget, got("")}, {5, 6, read, forgotten}, {7, 8, wait, got("a")}}, true},
		"a forget that failed":                  {[]call{{1, never, forgets, nothing}, {2, 3, read, forgotten}, {4, 5, read, nothing}, {6, 7, propose("a"), got("a")}}, true},

		"written after it was forgotten": {[]call{{1, never, forgets, nothing}, {1, 2, forget, got("")}, {3, 4, propose("a"), got("a")}}, false},
		"a value that was given up appears after it was forgotten": {[]call{{1, never, forgets, nothing}, {1, 2, forget, got("")}, {3, never, propose("a"), unknown},
			{5, 6, read, got("a")}}, false},
		"read of nothing after it was forgotten": {[]call{{1, never, forgets, nothing}, {1, 2, forget, got("")}, {3, 4, read, nothing}}, false},
		"forgotten, and nobody asked for that":   {[]call{{1, 2, read, forgotten}, {3, never, forgets, nothing}}, false},

		"two values":                     {[]call{{1, 2, propose("a"), got("a")}, {3, 4, propose("b"), got("b")}}, false},
		"two values at a time":           {[]call{{1, 3, propose("a"), got("a")}, {2, 4, propose("b"), got("b")}}, false},
		"nobody proposed it":             {[]call{{1, 2, propose("a"), got("c")}}, false},
		"read of nothing after the fact": {[]call{{1, 2, propose("a"), got("a")}, {3, 4, read, nothing}}, false},
		"read of nothing after a read":   {[]call{{1, 9, propose("a"), got("a")}, {2, 3, read, got("a")}, {4, 5, read, nothing}}, false},
		"a read before any proposal":     {[]call{{1, 2, read, got("a")}, {3, 4, propose("a"), got("a")}}, false},
		"the empty value is not nothing": {[]call{{1, 2, propose(""), got("")}, {3, 4, read, nothing}}, false},
		"wait tells another":             {[]call{{1, 2, propose("a"), got("a")}, {3, never, propose("b"), unknown}, {4, 5, wait, got("b")}}, false},
	} {
		var history []porcupine.Operation
		for i, c := range test.calls {
			history = append(history, porcupine.Operation{ClientId: i, Input: c.in, Call: c.from, Output: c.out, Return: c.to})
		}
		assert.Equal(t, test.right, porcupine.CheckOperations(Model, history), "%s", name)
		assert.Equal(t, test.right, Check(history), "%s", name)
	}
}

// TestCheckOfManyUnknown: proposes that were given up don't make the check take for ever, whether it passes or not.
func TestCheckOfManyUnknown(t *testing.T) {
	var history []porcupine.Operation
	for i := range 200 {
		history = append(history, porcupine.Operation{ClientId: i, Input: Call{Op: "propose", Value: fmt.Sprint(i)},
			Call: int64(i), Output: Result{Unknown: true}, Return: Never})
	}
	read := func(at int64, out Result) porcupine.Operation {
		return porcupine.Operation{ClientId: 500, Input: Call{Op: "read"}, Call: at, Output: out, Return: at + 1}
	}
	right := append(history, read(1000, Result{}), read(1010, Result{OK: true, Value: "150"}), read(1020, Result{OK: true, Value: "150"}))
	assert.True(t, Check(right))
	assert.False(t, Check(append(right, read(1030, Result{}))))
	assert.False(t, Check(append(right, read(1030, Result{OK: true, Value: "151"}))))
}

func TestRecorder(t *testing.T) {
	r := &Recorder{}
	failed := errors.New("no")
	for _, f := range []func() (string, bool, bool, error){
		func() (string, bool, bool, error) { return "a", true, false, nil },
		func() (string, bool, bool, error) { return "", false, true, failed },
		func() (string, bool, bool, error) { return "", false, false, failed },
	} {
		r.Record(7, Call{Op: "propose", Instance: "x", Value: "a"}, f)
	}
	r.Record(7, Call{Op: "read", Instance: "x"}, func() (string, bool, bool, error) { return "", false, true, failed })
	calls := r.Take()
	assert.Len(t, calls, 2, "what failed for certain, and what proposes nothing, tells nothing")
	assert.Equal(t, Result{OK: true, Value: "a"}, calls[0].Output)
	assert.Equal(t, Result{Unknown: true}, calls[1].Output)
	assert.EqualValues(t, int64(Never), calls[1].Return)
	assert.Contains(t, Text(calls), "client 7")
	assert.Empty(t, r.Take())
}
