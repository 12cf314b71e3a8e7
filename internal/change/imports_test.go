package change_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/change"
)

// never is a time before anything was asked, so nothing is asked again.
const never time.Duration = 0

func begun(stored string, sources ...paxos.ServerID) *change.Imports {
	m := new(change.Imports)
	m.Begin(sources, stored)
	return m
}

// page asks the source for a page, and takes these names.
func page(t *testing.T, m *change.Imports, id paxos.ServerID, top uint64, last bool, names ...string) {
	t.Helper()
	seq, _, ok := m.WantsPage(id, 1, never)
	require.True(t, ok)
	require.True(t, m.Page(id, seq, names, top, last))
}

// take asks for all names of the page, and takes their records.
func take(m *change.Imports, id paxos.ServerID) {
	for _, name := range m.Ask(id, math.MaxInt, 1, never) {
		m.Took(id, name)
	}
}

func kept(uint64) bool { return true }

func TestZeroImports(t *testing.T) {
	var m change.Imports
	for range 2 {
		assert.False(t, m.IsActive())
		assert.False(t, m.IsReady())
		assert.False(t, m.IsWhole())
		assert.Empty(t, m.Sources())
		assert.Empty(t, m.Text())
		_, _, ok := m.WantsPage(2, 1, never)
		assert.False(t, ok)
		assert.False(t, m.Page(2, 1, []string{"a"}, 1, true))
		assert.False(t, m.Page(2, 0, []string{"a"}, 1, true))
		assert.Empty(t, m.Ask(2, 9, 1, never))
		assert.False(t, m.Waits(2, "a"))
		assert.False(t, m.Durable(2, kept, 9))
		assert.False(t, m.Done(2))
		_, ok = m.Goal(2)
		assert.False(t, ok)
		m.Took(2, "a")
		m.Turn(2, 1)
		m.Knows("a")
		assert.False(t, m.IsReady(), "there is no source")
		m.Goes(true)
		assert.False(t, m.IsReady(), "there is no source")
		done, all := m.Progress()
		assert.Zero(t, done+all)

		m.Begin([]paxos.ServerID{2}, "2/5") // and the same after an end
		m.End()
	}
}

// TestImportsPages: pages of names, the records of each, the next page.
func TestImportsPages(t *testing.T) {
	m := begun("", 2, 3)
	assert.True(t, m.IsActive())
	assert.True(t, m.IsReady())
	assert.Equal(t, []paxos.ServerID{2, 3}, m.Sources())
	m.Goes(false)
	assert.False(t, m.IsReady())

	seq, after, ok := m.WantsPage(2, 10, never)
	require.True(t, ok)
	assert.Empty(t, after)
	other, _, ok := m.WantsPage(3, 10, never)
	require.True(t, ok)
	assert.NotEqual(t, seq, other)
	_, _, ok = m.WantsPage(2, 11, never)
	assert.False(t, ok, "it is out")

	names := []string{"a", "b", "c"}
	require.True(t, m.Page(2, seq, names, 9, false))
	names[0] = "z" // the page has a slice of its own
	assert.True(t, m.IsReady())
	_, _, ok = m.WantsPage(2, 12, math.MaxInt64)
	assert.False(t, ok, "a page is being taken over")
	assert.Equal(t, []string{"a", "b"}, m.Ask(2, 2, 12, never))
	assert.Empty(t, m.Ask(2, 2, 12, never), "the window is full")
	assert.Empty(t, m.Ask(3, 2, 12, never), "another source has no page")
	assert.True(t, m.Waits(2, "a"))
	assert.False(t, m.Waits(2, "c"), "it is not asked for")
	assert.False(t, m.Waits(3, "a"))
	m.Goes(false)
	m.Took(2, "a")
	assert.True(t, m.IsReady())
	assert.False(t, m.Waits(2, "a"))
	assert.Equal(t, []string{"c"}, m.Ask(2, 2, 13, never))
	m.Took(2, "c")
	m.Turn(2, 5)
	_, _, ok = m.WantsPage(2, 14, math.MaxInt64)
	assert.False(t, ok, "b is not taken over")
	m.Took(2, "b")
	m.Turn(2, 5)

	seq, after, ok = m.WantsPage(2, 15, never)
	require.True(t, ok)
	assert.Equal(t, "c", after)
	assert.True(t, m.Page(2, seq, []string{"d"}, 12, true))
}

// TestImportOrder: the scan, its goal, and the end.
func TestImportOrder(t *testing.T) {
	m := begun("", 2, 3)
	page(t, m, 2, 9, false, "a", "b", "c")
	take(m, 2)
	m.Turn(2, 5)
	assert.False(t, m.Durable(2, kept, 99), "the scan has not ended")
	page(t, m, 2, 12, true, "d")
	m.Turn(2, 7)
	assert.False(t, m.Durable(2, kept, 99), "d is not asked for")
	assert.Equal(t, []string{"d"}, m.Ask(2, 2, 15, never))
	m.Turn(2, 7)
	assert.False(t, m.Durable(2, kept, 99), "d is not taken over")
	m.Took(2, "d")
	assert.False(t, m.Durable(2, kept, 99), "the page has not ended")
	m.Turn(2, 7)
	m.Turn(2, 8) // there is no page any more

	_, _, ok := m.WantsPage(2, 16, math.MaxInt64)
	assert.False(t, ok, "that was the last page")
	assert.False(t, m.Durable(2, func(mark uint64) bool { return mark < 7 }, 99), "it is not durable")
	_, ok = m.Goal(2)
	assert.False(t, ok)
	assert.Empty(t, m.Text())
	assert.True(t, m.Durable(2, func(mark uint64) bool { return mark <= 7 }, 11))
	goal, ok := m.Goal(2)
	assert.True(t, ok)
	assert.Equal(t, uint64(12), goal, "the last Index of when the scan ended, not of when it began")
	assert.Equal(t, "2/12", m.Text())
	assert.False(t, m.Done(2), "a decision is not here")
	m.Turn(2, 9)
	assert.False(t, m.Durable(2, kept, 12), "the text is the same")
	assert.True(t, m.Done(2))
	assert.False(t, m.Done(3))
	done, all := m.Progress()
	assert.Equal(t, []int{1, 2}, []int{done, all})
	m.Durable(2, kept, 3)
	assert.True(t, m.Done(2), "done is for good")
	assert.False(t, m.IsWhole(), "no source is whole")
}

func TestImportsOfNothing(t *testing.T) {
	m := begun("", 2)
	page(t, m, 2, 0, true)
	m.Turn(2, 3)
	assert.True(t, m.Durable(2, kept, 0))
	assert.True(t, m.Done(2), "the source knows nothing")
}

func TestPagesRefused(t *testing.T) {
	m := begun("", 2, 3)
	assert.False(t, m.Page(2, 0, []string{"a"}, 1, false), "none was asked for")
	assert.False(t, m.Page(2, 1, []string{"a"}, 1, false), "none was asked for")
	page(t, m, 2, 5, false, "k", "m")
	take(m, 2)
	m.Turn(2, 1)
	seq, after, ok := m.WantsPage(2, 2, never)
	require.True(t, ok)
	require.Equal(t, "m", after)
	of3, _, ok := m.WantsPage(3, 2, never)
	require.True(t, ok)
	m.Goes(false)
	for name, refused := range map[string]bool{
		"an earlier page":       m.Page(2, seq-1, []string{"n"}, 6, false),
		"a later page":          m.Page(2, seq+9, []string{"n"}, 6, false),
		"of another source":     m.Page(2, of3, []string{"n"}, 6, false),
		"of no source":          m.Page(4, seq, []string{"n"}, 6, false),
		"numbered 0":            m.Page(2, 0, []string{"n"}, 6, false),
		"nothing, and not last": m.Page(2, seq, nil, 6, false),
		"a name that was had":   m.Page(2, seq, []string{"m", "n"}, 6, false),
		"a name before":         m.Page(2, seq, []string{"a"}, 6, true),
		"an empty name":         m.Page(3, of3, []string{""}, 6, true),
		"a name twice":          m.Page(2, seq, []string{"n", "n"}, 6, false),
		"names that descend":    m.Page(2, seq, []string{"n", "p", "o"}, 6, true),
	} {
		assert.False(t, refused, name)
	}
	assert.False(t, m.IsReady())
	assert.Empty(t, m.Ask(2, 9, 2, never))
	require.True(t, m.Page(2, seq, []string{"n", "o"}, 6, false), "the right one is still waited for")
	assert.False(t, m.Page(2, seq, []string{"n", "o"}, 6, false), "it came twice")
	assert.Equal(t, []string{"n", "o"}, m.Ask(2, 9, 2, never))
	assert.False(t, m.Page(2, seq, []string{"p"}, 6, true), "it came twice")
	take(m, 2)
	assert.True(t, m.Waits(2, "n"))
}

func TestAskedAgain(t *testing.T) {
	m := begun("", 2)
	first, _, ok := m.WantsPage(2, 0, never)
	require.True(t, ok)
	_, _, ok = m.WantsPage(2, 0, never)
	assert.False(t, ok, "time 0 is a time, too")
	_, _, ok = m.WantsPage(2, 1, never)
	assert.False(t, ok)
	second, _, ok := m.WantsPage(2, 20, 1)
	require.True(t, ok)
	assert.Equal(t, first, second, "it is the same question, so a slow answer is one to it")
	_, _, ok = m.WantsPage(2, 39, 19)
	assert.False(t, ok, "the time counts from the last question")
	require.True(t, m.Page(2, second, []string{"a", "b", "c", "d"}, 1, true))

	assert.Equal(t, []string{"a", "b", "c"}, m.Ask(2, 3, 0, never))
	assert.Empty(t, m.Ask(2, 3, 0, never))
	m.Took(2, "b")
	assert.Equal(t, []string{"a", "c", "d"}, m.Ask(2, 3, 50, 30))
	assert.Empty(t, m.Ask(2, 3, 79, 49))
	assert.True(t, m.Waits(2, "c"))
	assert.Equal(t, []string{"a", "c", "d"}, m.Ask(2, 3, 80, 50))
	for _, name := range []string{"d", "a", "a", "c", "x"} {
		m.Took(2, name)
	}
	assert.Empty(t, m.Ask(2, 3, 200, 199))
	m.Turn(2, 1)
	assert.True(t, m.Durable(2, kept, 1))
}

func TestKnows(t *testing.T) {
	m := begun("", 2, 3)
	page(t, m, 2, 1, true, "a", "b", "c")
	page(t, m, 3, 1, true, "b", "c", "d")
	assert.Equal(t, []string{"a", "b"}, m.Ask(2, 2, 1, never))
	m.Goes(false)
	m.Knows("b") // asked of the one source, and not yet of the other
	assert.True(t, m.IsReady())
	m.Knows("c")
	m.Knows("x")
	assert.False(t, m.Waits(2, "b"))
	assert.Empty(t, m.Ask(2, 9, 1, never))
	assert.Equal(t, []string{"d"}, m.Ask(3, 9, 1, never))
	m.Took(2, "a")
	m.Turn(2, 1)
	assert.True(t, m.Durable(2, kept, 1), "all of the page is known")
}

func TestWholeSources(t *testing.T) {
	m := begun("") // a settled view has no other source
	assert.False(t, m.IsActive())
	m.Goes(false)
	m.Whole(4)
	assert.True(t, m.IsActive())
	assert.True(t, m.IsReady())
	assert.Equal(t, []paxos.ServerID{4}, m.Sources())
	page(t, m, 4, 3, true, "a")
	take(m, 4)
	m.Turn(4, 1)
	m.Whole(4) // it says so with each packet
	assert.True(t, m.Durable(4, kept, 2))
	assert.False(t, m.IsWhole())
	m.Whole(4)
	m.Durable(4, kept, 3)
	assert.True(t, m.Done(4))
	assert.True(t, m.IsWhole())
	assert.Empty(t, m.Text(), "another life asks it anew")
}

// TestBecomesWhole: answers to questions from before the source was complete say nothing.
func TestBecomesWhole(t *testing.T) {
	m := begun("", 2, 3)
	page(t, m, 2, 3, false, "a", "b")
	take(m, 2)
	m.Turn(2, 1)
	early, after, ok := m.WantsPage(2, 2, never)
	require.True(t, ok)
	require.Equal(t, "b", after)
	m.Goes(false)
	assert.False(t, m.OfWhole(2))
	m.Whole(2)
	assert.True(t, m.OfWhole(2))
	assert.False(t, m.OfWhole(3))
	assert.False(t, m.OfWhole(9))
	assert.True(t, m.IsReady())
	assert.Equal(t, []paxos.ServerID{2, 3}, m.Sources())
	assert.False(t, m.Page(2, early, []string{"c"}, 9, true), "that page is of before")
	seq, after, ok := m.WantsPage(2, 2, never)
	require.True(t, ok, "the scan begins anew")
	assert.Empty(t, after)
	assert.Greater(t, seq, early)
	require.True(t, m.Page(2, seq, []string{"a", "b", "c"}, 9, true))
	assert.Equal(t, []string{"a", "b", "c"}, m.Ask(2, 9, 2, never), "so are the records")
	m.Whole(2)
	assert.True(t, m.Waits(2, "a"), "it is a whole source already")

	page(t, m, 3, 3, true, "a")
	assert.Equal(t, []string{"a"}, m.Ask(3, 9, 2, never))
	m.Whole(3)
	assert.False(t, m.Waits(3, "a"), "the record is of before")
}

// TestBecomesWholeLate: a source that becomes whole is scanned anew, whatever was known of it. If it was done, it stays done for the
// configuration before. Else an importer might wait for ever for sources that are not needed any more.
func TestBecomesWholeLate(t *testing.T) {
	m := begun("3/5", 2, 3)
	page(t, m, 2, 3, true)
	m.Turn(2, 1)
	m.Whole(2) // its end is not durable
	assert.False(t, m.Durable(2, kept, 3))
	assert.False(t, m.Done(2))
	m.Durable(3, kept, 5)
	assert.True(t, m.Done(3))
	m.Whole(3)
	assert.True(t, m.Done(3))
	done, all := m.Progress()
	assert.Equal(t, []int{1, 2}, []int{done, all})
	assert.False(t, m.IsWhole())
	assert.Empty(t, m.Text(), "another life has to ask whole sources anew")
	page(t, m, 3, 6, true)
	m.Turn(3, 1)
	m.Durable(3, kept, 5)
	assert.False(t, m.IsWhole())
	m.Durable(3, kept, 6)
	assert.True(t, m.IsWhole())
}

// TestPagesOfBefore: no question of one import is taken for one of the next.
func TestPagesOfBefore(t *testing.T) {
	m := begun("", 2)
	early, _, _ := m.WantsPage(2, 0, never)
	m.End()
	m.Begin([]paxos.ServerID{2}, "")
	_, _, ok := m.WantsPage(2, 1, never)
	require.True(t, ok)
	assert.False(t, m.Page(2, early, []string{"a"}, 1, true))
}
