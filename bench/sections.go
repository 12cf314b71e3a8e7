package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A group is rows that differ in the contestant and the number of callers alone.
type group struct {
	title string
	rows  []row
}

// title names the group of a work.
func (w work) title() string {
	if w.Floor {
		return "what disk and wire can do"
	}
	where := "memory"
	if w.Disk {
		where = "disk and TCP"
	}
	s := fmt.Sprintf("%s, %d servers, %s", where, w.Servers, bytesText(w.Value))
	if w.Contended {
		s += ", contended"
	}
	return s
}

func groupsOf(rows []row) (groups []group) {
	for _, r := range rows {
		title := r.Work.title()
		i := slices.IndexFunc(groups, func(g group) bool { return g.title == title })
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{title: title})
		}
		groups[i].rows = append(groups[i].rows, r)
	}
	return groups
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// callers are the numbers of callers in the group, in their order.
func (g group) callers() (all []int) {
	for _, r := range g.rows {
		all = append(all, r.Work.Callers)
	}
	return distinct(all)
}

func (g group) at(callers int) (rows []row) {
	for _, r := range g.rows {
		if r.Work.Callers == callers {
			rows = append(rows, r)
		}
	}
	return rows
}

func (r row) marked(s string) string {
	if r.Busy {
		s += `\*`
	}
	return s
}

// starred is marked, for drawings.
func (r row) starred(s string) string {
	if r.Busy {
		s += " *"
	}
	return s
}

// compareSection has a table for each group. Groups with several numbers of callers get drawings of their own, the others
// share one.
func compareSection(rows []row) (tables string, figures []figure) {
	var b strings.Builder
	var others []barGroup
	for _, g := range groupsOf(rows) {
		fmt.Fprintf(&b, "### %s\n\n%s\n", capital(g.title), g.table())
		b.WriteString(g.atLeast())
		switch {
		case g.rows[0].Work.Floor:
		case len(g.callers()) > 1:
			figures = append(figures, g.drawRates(), g.drawLatencies())
		default:
			others = append(others, barGroup{fmt.Sprintf("%s, %s", capital(g.title), plural(g.callers()[0], "caller")), rateBars(g.rows)})
		}
	}
	if len(others) > 0 {
		title := "One thing varied"
		figures = append(figures, figure{"variations.svg", title, bars(title, rateNote, others)})
	}
	return b.String(), figures
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

const rateNote = "Decisions a second, and how many times the best peer's. Longer is better. *: the machine was not quiet."

func (g group) table() string {
	cells := [][]string{{"callers", "contestant", "decisions/s", "x best peer", "p50", "p99", "p99.9", "max", "allocations", "bytes",
		"CPU", "fsyncs", "messages"}}
	for _, r := range g.rows {
		m := r.Result
		name := r.marked(r.Contestant)
		if r.Errors > 0 {
			name += fmt.Sprintf(" (%d errors)", r.Errors)
		}
		cells = append(cells, []string{fmt.Sprint(r.Work.Callers), name, countText(r.PerSecond), ratioText(r.Ratio), microsText(m.P50),
			microsText(m.P99), microsText(m.P999), microsText(m.Max), countText(m.Allocs), countText(m.Bytes), microsText(m.CPU),
			knownText(m.Syncs), knownText(m.Messages)})
	}
	if g.rows[0].Work.Floor {
		for i, r := range cells { // it has no peers
			cells[i] = slices.Concat(r[:3], r[4:8])
		}
		cells[0][2] = "a second"
	}
	return table(cells, 2)
}

// atLeast says how long one decision takes at least if three servers must have it on one disk, and one must hear of another.
func (g group) atLeast() string {
	save, trip := 0.0, 0.0
	for _, r := range g.rows {
		switch {
		case r.Contestant == floorWire:
			trip = r.Result.P50
		case r.Contestant == floorDisk3:
			save = r.Result.P50
		}
	}
	if save == 0 || trip == 0 {
		return ""
	}
	return fmt.Sprintf("Three saves at once and one round trip, p50: %s.\n\n", microsText(save+trip))
}

func rateBars(rows []row) (all []bar) {
	for _, r := range rows {
		text := countText(r.PerSecond) + "/s"
		if r.Ratio != nil {
			text += " · " + ratioText(r.Ratio) + " x"
		}
		all = append(all, bar{r.Contestant, r.starred(text), r.PerSecond, r.Ours})
	}
	return all
}

func (g group) drawRates() figure {
	var groups []barGroup
	for _, n := range g.callers() {
		groups = append(groups, barGroup{plural(n, "caller"), rateBars(g.at(n))})
	}
	title := capital(g.title)
	return figure{slug(g.title) + ".svg", title, bars(title, rateNote, groups)}
}

// drawLatencies draws the curves for the number of callers in the middle.
func (g group) drawLatencies() figure {
	callers := g.callers()
	n := callers[len(callers)/2]
	title := fmt.Sprintf("%s: latency with %s", capital(g.title), plural(n, "caller"))
	c := curveChart{title: title, note: "How long a call takes, by percentile. Lower is better.", yText: microsMark,
		xTicks: []tick{{nines(0), "0"}, {nines(0.5), "50 %"}, {nines(0.9), "90 %"}, {nines(0.99), "99 %"}, {nines(0.999), "99.9 %"}, {nines(0.9999), "99.99 %"}}}
	for _, r := range g.at(n) {
		s := series{name: r.Contestant, ours: r.Ours}
		for i, y := range r.Result.Curve {
			s.x = append(s.x, nines(curveAt[i]))
			s.y = append(s.y, max(y, 0.001))
		}
		c.series = append(c.series, s)
	}
	return figure{"latency-" + slug(g.title) + ".svg", title, curves(c)}
}

// nines is a quantile on a scale that gives each further nine the same room.
func nines(q float64) float64 { return -math.Log10(1 - q) }

// sweepSection has a table and a drawing for each thing that grows.
func sweepSection(rows []row) (tables string, figures []figure) {
	var b strings.Builder
	for _, what := range []string{sweepDecided, sweepServers, sweepValues, sweepCallers} {
		var these []row
		for _, r := range rows {
			if r.Work.Sweep == what {
				these = append(these, r)
			}
		}
		if len(these) == 0 {
			continue
		}
		fmt.Fprintf(&b, "### With the %s\n\n%s\n", what, sweepTable(these))
		figures = append(figures, drawSweep(what, these))
	}
	return b.String(), figures
}

func sweepTable(rows []row) string {
	cells := [][]string{{"where", "contestant", rows[0].Work.Sweep, "decisions/s", "time per decision", "p50", "p99", "CPU", "fsyncs", "messages", "memory"}}
	for _, r := range rows {
		m, where, memory := r.Result, "memory", "–"
		if r.Work.Disk {
			where = "disk and TCP"
		}
		if m.Memory != nil {
			memory = countText(*m.Memory) + " B"
		}
		cells = append(cells, []string{where, r.marked(r.Contestant), grownText(r.Work), countText(r.PerSecond), microsText(1e6 / r.PerSecond),
			microsText(m.P50), microsText(m.P99), microsText(m.CPU), knownText(m.Syncs), knownText(m.Messages), memory})
	}
	return table(cells, 2)
}

func grownText(w work) string {
	if w.Sweep == sweepValues {
		return bytesText(w.Value)
	}
	return exactText(w.grown())
}

func drawSweep(what string, rows []row) figure {
	title := "Time per decision with the " + what
	c := curveChart{title: title, note: "The machine's time, not a caller's: seconds by decisions. Lower is better.", yText: microsMark}
	for _, r := range rows {
		name := r.Work.where() + ": " + r.Contestant
		i := slices.IndexFunc(c.series, func(s series) bool { return s.name == name })
		if i < 0 {
			i = len(c.series)
			c.series = append(c.series, series{name: name})
		}
		at := math.Log10(float64(r.Work.grown()))
		c.series[i].x = append(c.series[i].x, at)
		c.series[i].y = append(c.series[i].y, 1e6/r.PerSecond)
		if !slices.ContainsFunc(c.xTicks, func(t tick) bool { return t.at == at }) {
			c.xTicks = append(c.xTicks, tick{at, grownText(r.Work)})
		}
	}
	slices.SortFunc(c.xTicks, func(a, b tick) int { return int(math.Copysign(1, a.at-b.at)) })
	return figure{"sweep-" + slug(what) + ".svg", title, curves(c)}
}

// gapSection shows how long nothing was decided.
func gapSection(rows []row) (tables string, figures []figure) {
	cells := [][]string{{"contestant", "the server", "longest pause before", "after", "decisions/s"}}
	g := barGroup{title: "Three servers on disk, 16 callers"}
	for _, r := range rows {
		m, how, label := r.Result, "is killed", r.Contestant
		if r.Work.Frozen {
			how, label = "stands still", label+", stands still"
		}
		cells = append(cells, []string{r.marked(r.Contestant), how, millisText(m.Before), millisText(m.After), countText(r.PerSecond)})
		g.bars = append(g.bars, bar{label, r.starred(fmt.Sprintf("%s · before: %s", millisText(m.After), millisText(m.Before))), m.After, r.Ours})
	}
	title := "Longest pause when a server is stopped"
	return table(cells, 2), []figure{{"gap.svg", title, bars(title, "The leader, or the server that stands. Before: the longest until then. *: the machine was not quiet.", []barGroup{g})}}
}
