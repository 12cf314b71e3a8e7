package wal

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

var (
	kills    = flag.Int("wal.kills", 50, "how often TestKilledProcess kills a process")
	childDir = flag.String("wal.child", "", "the directory of the process that TestKilledProcess kills")
)

// killedValue is what the n-th batch decides.
func killedValue(n uint64) string {
	return fmt.Sprint(n, strings.Repeat(string(rune('a'+n%26)), rand.New(rand.NewPCG(n, 19)).IntN(3000)))
}

// killedSave is the n-th batch of the process that is killed: some records, one of them new, some again; a vote for what the next one decides.
// Old ones are dropped.
func killedSave(n uint64) paxos.Batch {
	x := rand.New(rand.NewPCG(n, 13))
	value := killedValue(n)
	b := batchOf(decided(fmt.Sprintf("new/%09d", n), n, value), voted(fmt.Sprintf("new/%09d", n+1), 1, killedValue(n+1)))
	if n%100 == 0 && n > 500 {
		b.Drop = append(b.Drop, paxos.NameRange{From: "new/", To: fmt.Sprintf("new/%09d", n-500)})
	}
	for i := range x.Uint64N(4) {
		b.Records = append(b.Records, voted(fmt.Sprint("again/", i), n, value))
	}
	return b
}

// savedUpTo returns how many batches the log holds: all of the first so many, and nothing else.
func savedUpTo(l *Log) (uint64, error) {
	named, err := l.Decided(0, 1<<30)
	if err != nil {
		return 0, err
	}
	m := newModel()
	if m.state, err = l.Server(); err != nil {
		return 0, err
	}
	n := uint64(0)
	if len(named) > 0 {
		n = named[len(named)-1].Index
	}
	for i := max(n, 2000) - 2000; i < n; i++ { // earlier records are dropped, or were saved again
		m.apply(killedSave(i + 1))
	}
	m.apply(paxos.Batch{Drop: []paxos.NameRange{{From: "new/", To: fmt.Sprintf("new/%09d", max(n/100*100, 500)-500)}}})
	return n, m.differs(l)
}

// TestKilledChild is the process that TestKilledProcess kills. It saves batches, and writes the number of each that was saved.
func TestKilledChild(t *testing.T) {
	if *childDir == "" {
		t.Skip("it is run by TestKilledProcess")
	}
	l, err := Open(*childDir, Options{least: 64 << 10, SegmentSize: 256 << 10})
	require.NoError(t, err)
	n, err := savedUpTo(l)
	require.NoError(t, err)
	for {
		fmt.Printf("saved %d\n", n)
		n++
		require.NoError(t, l.Save(counted(l, killedSave(n))))
	}
}

// A process that saves is killed again and again, at any time: in Open, in a Save, in a compaction. Each batch that it reported as saved is
// there, and at most one more.
func TestKilledProcess(t *testing.T) {
	t.Parallel() // it waits for children and for the disk
	runs := *kills
	if testing.Short() {
		runs = min(runs, 5)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	x := rand.New(rand.NewPCG(seed, 14))
	path := t.TempDir()
	require.NoError(t, Create(path, 1, members))
	said := uint64(0)
	for run := range runs {
		inOpen := run > 0 && x.IntN(4) == 0
		if more, ok := killChild(t, path, x, inOpen); ok {
			require.GreaterOrEqual(t, more, said, "run %d: what was saved once is there", run)
			said = more
		}
		if run%8 == 7 || run == runs-1 {
			l, err := Open(path, Options{})
			require.NoError(t, err)
			n, err := savedUpTo(l)
			require.NoError(t, err)
			require.GreaterOrEqual(t, n, said)
			require.LessOrEqual(t, n, said+1, "one that was not acknowledged, at most")
			require.NoError(t, l.Close())
			still, err := Open(path, Options{ReadOnly: true}) // else compaction goes on beside
			require.NoError(t, err)
			require.NoError(t, still.Verify())
			require.NoError(t, still.Close())
		}
	}
	t.Logf("%d batches in %d lives", said, runs)
	require.Positive(t, said)
}

// killChild starts the process, kills it after a while, and returns how many batches it has said that it saved, if it said so. The while
// begins when the process does, which is likely to be in Open then, or when it has a batch saved, however long that takes here.
func killChild(t *testing.T, path string, x *rand.Rand, inOpen bool) (said uint64, ok bool) {
	child := exec.Command(os.Args[0], "-test.run=^TestKilledChild$", "-wal.child="+path)
	var wrong strings.Builder
	child.Stderr = &wrong
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	while, begun := time.Duration(x.IntN(60_000))*time.Microsecond, inOpen
	timer := time.AfterFunc(time.Minute, func() { child.Process.Kill() })
	defer timer.Stop()
	if begun {
		timer.Reset(while)
	}
	all := bufio.NewReader(out)
	for {
		line, err := all.ReadString('\n')
		if err == io.EOF {
			break // a line that was cut short does not count
		}
		require.NoError(t, err)
		number, saved := strings.CutPrefix(line, "saved ")
		require.True(t, saved, "the process says %s%s", line, wrong.String())
		said, err = strconv.ParseUint(strings.TrimSpace(number), 10, 64)
		require.NoError(t, err)
		ok = true
		if !begun && said > 0 {
			begun = true
			timer.Reset(while)
		}
	}
	require.Error(t, child.Wait(), "it was killed")
	return said, ok
}
