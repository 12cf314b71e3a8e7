package paxos

import (
	"bytes"
	"encoding"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// goldenForms are pointers to the contents of testdata/golden, by file name. The bytes never change, because every later version
// reads the forms of an earlier one, above all those on disk. New fields get new files.
func goldenForms() map[string]encoding.BinaryAppender {
	lunch := func(k Kind) Message { return Message{Kind: k, Instance: "lunch", Ballot: Ballot{2, 1}} }
	with := func(m Message, change func(*Message)) *Message { change(&m); return &m }
	promise := with(lunch(KindPromise), func(m *Message) { m.Accepted, m.Value = Ballot{1, 3}, "burger" })
	nack := with(lunch(KindNack), func(m *Message) { m.Promised = Ballot{300, 2} })
	vote := func(v Value) Acceptor { return Acceptor{Ballot{2, 1}, Ballot{2, 1}, v} }
	chosen := lunch(KindChosen)
	query := lunch(KindQuery)
	return map[string]encoding.BinaryAppender{
		"message-prepare":      with(lunch(KindPrepare), func(m *Message) { m.Value = "pizza" }),
		"message-promise":      promise,
		"message-promise-none": with(lunch(KindPromise), func(*Message) {}),
		"message-accept-empty": with(lunch(KindAccept), func(*Message) {}),
		"message-accepted":     with(lunch(KindAccepted), func(*Message) {}),
		"message-nack":         nack,
		"message-decided":      with(lunch(KindDecided), func(m *Message) { m.Value = "any bytes: \x00\xff" }),
		"message-state": with(lunch(KindState), func(m *Message) {
			m.Promised, m.Accepted, m.Value = Ballot{2, 2}, Ballot{1, 1}, Value(strings.Repeat("long ", 40))
		}),
		"message-refuse": &Message{Kind: KindRefuse, Value: "another cluster"},
		"message-highest": &Message{Kind: 255, Instance: "\xff", Ballot: Ballot{math.MaxUint64, math.MaxUint64},
			Promised: Ballot{math.MaxUint64, 1}, Accepted: Ballot{MaxRound, math.MaxUint64}, Value: "x"},
		"packet": &Packet{From: 1, To: 2, Store: 0x0123456789abcdef, Boot: 3, Nonce: 0xfedcba9876543210,
			Members: 0x1122334455667788, Index: 1000, Seq: 200, Messages: []Message{*promise, *nack, chosen, query}},
		"packet-met": &Packet{From: 1, To: 2, Store: 0x0123456789abcdef, Boot: 3, Nonce: 0xfedcba9876543210,
			Members: 0x1122334455667788, Index: 1000, Seq: 200, ToStore: 0xfedcba9876543211, Messages: []Message{*promise}},
		"packet-configuration": &Packet{From: 1, To: 2, Store: 0x0123456789abcdef, Boot: 3, Nonce: 0xfedcba9876543210,
			Members: 0x1122334455667788, Index: 1000, Seq: 200, Configuration: 300, Complete: true, Messages: []Message{*promise}},
		"packet-empty":       &Packet{From: 64, To: 1 << 40, Store: 1, Boot: 1, Nonce: 2, Members: 3},
		"record-promised":    &Record{Instance: "lunch", Acceptor: Acceptor{Promised: Ballot{2, 1}}},
		"record-accepted":    &Record{Instance: "lunch", Acceptor: Acceptor{Ballot{3, 2}, Ballot{2, 1}, "burger"}},
		"record-chosen":      &Record{Instance: "lunch", Acceptor: vote("burger"), Chosen: true, Index: 129},
		"record-empty-value": &Record{Instance: "é", Acceptor: vote(""), Chosen: true, Index: 1},
		"server-state": &ServerState{Cluster: "prod", ID: 3, Store: 0x0123456789abcdef, Members: "1,2,3 majority(3)", Boot: 7,
			Rounds: 1 << 20, Last: 123456},
		"server-state-met": &ServerState{Cluster: "prod", ID: 3, Store: 0x0123456789abcdef, Members: "1,2,3 majority(3)", Boot: 7,
			Rounds: 1 << 20, Last: 123456, Pulled: "1/9f03/57", Peers: "1/9f03,2/1c2"},
		"server-state-forgets": &ServerState{Cluster: "prod", ID: 3, Store: 0x0123456789abcdef, Members: "1,2,3 majority(3)", Boot: 7,
			Rounds: 1 << 20, Last: 123456, Forgotten: 2},
		"server-state-changes": &ServerState{Cluster: "prod", ID: 3, Store: 0x0123456789abcdef, Members: "1,3,4 majority(3)", Boot: 7,
			Rounds: 1 << 20, Last: 123456, Peers: "1/9f03", Configuration: goldenConfiguration().String(), Before: "any words", Import: ImportComplete},
		"server-state-stands": &ServerState{Cluster: "prod", ID: 3, Store: 0x0123456789abcdef, Members: "1,2,3 majority(3)", Boot: 7,
			Rounds: 1 << 20, Last: 123456, Peers: "1/9f03,2/1c2", Floor: Ballot{10_001, 2}},
	}
}

// goldenText says in words what the bytes mean, then shows them, 32 on a line.
func goldenText(v encoding.BinaryAppender, data []byte) string {
	var b strings.Builder
	for line := range strings.SplitSeq(fmt.Sprintf("%+v", reflect.Indirect(reflect.ValueOf(v))), "\n") {
		b.WriteString("# " + line + "\n")
	}
	for len(data) > 0 {
		n := min(32, len(data))
		b.WriteString(hex.EncodeToString(data[:n]) + "\n")
		data = data[n:]
	}
	return b.String()
}

// goldenBytes reads what goldenText wrote.
func goldenBytes(t *testing.T, text []byte) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range bytes.Lines(text) {
		if line[0] != '#' {
			digits.Write(bytes.TrimSpace(line))
		}
	}
	data, err := hex.DecodeString(digits.String())
	require.NoError(t, err)
	return data
}

func TestGoldenBytes(t *testing.T) {
	dir := filepath.Join("testdata", "golden")
	forms := goldenForms()
	for name, v := range forms {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name+".hex")
			if *update {
				require.NoError(t, os.MkdirAll(dir, 0o755))
				require.NoError(t, os.WriteFile(file, []byte(goldenText(v, encode(t, v))), 0o644))
			}
			text, err := os.ReadFile(file)
			require.NoError(t, err, "run go test -run TestGoldenBytes -update")
			data := goldenBytes(t, text)
			assert.Equal(t, hex.EncodeToString(data), hex.EncodeToString(encode(t, v)),
				"the form has changed: older versions cannot read it")
			assert.Equal(t, goldenText(v, data), string(text), "the words in the file")

			got := reflect.New(reflect.TypeOf(v).Elem())
			require.NoError(t, got.Interface().(encoding.BinaryUnmarshaler).UnmarshalBinary(data))
			assert.Equal(t, v, got.Interface())
		})
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.hex"))
	require.NoError(t, err)
	assert.Len(t, files, len(forms), "files that no test reads, or the reverse")
}
