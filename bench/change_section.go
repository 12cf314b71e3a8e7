package main

import (
	"fmt"
	"strings"
)

// changeNote stands above the tables.
const changeNote = "`go run -C bench . -change -out ../docs` wrote these tables.\n\n"

// changeSection shows the pauses of callers when a server is replaced, the speed of the import, and the cost of forgetting.
func changeSection(rows []row) (tables string, figures []figure) {
	var b strings.Builder
	b.WriteString(changeNote)
	replaced := changeRows(rows, work.replaces)
	if len(replaced) > 0 {
		fmt.Fprintf(&b, "### A server is replaced\n\n%s\n", pauseTable(replaced))
		figures = append(figures, drawPauses(replaced))
	}
	for _, part := range []struct {
		change, title string
		table         func([]row) string
	}{
		{changeImport, "The new server takes over, and nobody calls", importTable},
		{forgetIdle, "Names are forgotten, and nobody calls", forgetTable},
		{forgetBusy, "Names are forgotten beside callers", besideTable},
		{changeStanding, "Another server is asked to stand", standTable},
	} {
		if some := changeRows(rows, func(w work) bool { return w.Change == part.change }); len(some) > 0 {
			fmt.Fprintf(&b, "### %s\n\n%s\n", part.title, part.table(some))
		}
	}
	return strings.TrimSuffix(b.String(), "\n"), figures
}

func changeRows(rows []row, fits func(work) bool) (some []row) {
	for _, r := range rows {
		if fits(r.Work) {
			some = append(some, r)
		}
	}
	return some
}

// replacedText says which server was replaced.
func (r row) replacedText() string {
	switch {
	case r.Ours:
		return "any"
	case r.Work.Change == changeLeader:
		return "the leader"
	default:
		return "a follower"
	}
}

func pauseTable(rows []row) string {
	cells := [][]string{{"decided before", "contestant", "replaced", "longest pause before", "during", "after", "decisions/s before", "during", "after",
		"during / before", "it took", "failed calls"}}
	for _, r := range rows {
		cells = append(cells, append([]string{exactText(r.Work.Decided), r.marked(r.Contestant), r.replacedText()}, append(r.Result.Changed.cells(),
			secondsText(r.Result.Changed.Phases[phaseDuring].Seconds), exactText(r.Errors))...))
	}
	return table(cells, 3)
}

// cells are the pauses and the rates, with the ratio of the rate in the change to the one before.
func (c *changed) cells() (cells []string) {
	for _, p := range c.Phases {
		cells = append(cells, millisText(p.Worst))
	}
	for _, p := range c.Phases {
		cells = append(cells, countText(p.PerSecond))
	}
	before := c.Phases[phaseBefore].PerSecond
	if before == 0 {
		return append(cells, ratioText(nil))
	}
	ratio := c.Phases[phaseDuring].PerSecond / before
	return append(cells, ratioText(&ratio))
}

func importTable(rows []row) string {
	cells := [][]string{{"decided before", "contestant", "decisions/s", "bytes sent / bytes of names and values", "settled after"}}
	for _, r := range rows {
		c := r.Result.Changed
		cells = append(cells, []string{exactText(r.Work.Decided), r.marked(r.Contestant), countText(c.Import), ratioText(&c.Wire), secondsText(c.Settled)})
	}
	return table(cells, 2)
}

func forgetTable(rows []row) string {
	cells := [][]string{{"names", "the call", "memory before", "after the call", "at rest", "disk before", "after the call", "at rest", "memory free after"}}
	for _, r := range rows {
		c := r.Result.Changed
		line := []string{r.marked(exactText(r.Work.Decided)), millisText(c.Call)}
		for _, bytes := range append(c.Memory[:], c.Disk[:]...) {
			line = append(line, megaText(bytes))
		}
		cells = append(cells, append(line, secondsText(c.Freed)))
	}
	return table(cells, 1)
}

func besideTable(rows []row) string {
	cells := [][]string{{"names", "contestant", "the call", "longest pause before", "during", "after", "decisions/s before", "during", "after",
		"during / before"}}
	for _, r := range rows {
		c := r.Result.Changed
		cells = append(cells, append([]string{exactText(r.Work.Decided), r.marked(r.Contestant), millisText(c.Call)}, c.cells()...))
	}
	return table(cells, 2)
}

func standTable(rows []row) string {
	cells := [][]string{{"contestant", "longest pause before", "during", "after", "decisions/s before", "during", "after", "during / before", "ready after"}}
	for _, r := range rows {
		c := r.Result.Changed
		cells = append(cells, append(append([]string{r.marked(r.Contestant)}, c.cells()...), secondsText(c.Phases[phaseDuring].Seconds)))
	}
	return table(cells, 1)
}

func drawPauses(rows []row) figure {
	title := "Longest pause of a caller while a server is replaced"
	var groups []barGroup
	for _, decided := range decidedOf(rows) {
		g := barGroup{title: exactText(decided) + " decided before"}
		for _, r := range rows {
			if r.Work.Decided == decided {
				c := r.Result.Changed
				label := r.Contestant
				if !r.Ours {
					label += ", " + r.replacedText()
				}
				text := fmt.Sprintf("%s · before: %s", millisText(c.Phases[phaseDuring].Worst), millisText(c.Phases[phaseBefore].Worst))
				g.bars = append(g.bars, bar{label, r.starred(text), c.Phases[phaseDuring].Worst, r.Ours})
			}
		}
		groups = append(groups, g)
	}
	return figure{"change.svg", title, bars(title, "From the change until the new server has all. Before: the longest until then. *: the machine was not quiet.", groups)}
}

func decidedOf(rows []row) (all []int) {
	for _, r := range rows {
		all = append(all, r.Work.Decided)
	}
	return distinct(all)
}
