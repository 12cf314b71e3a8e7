package main

import (
	"math"
	"slices"
)

// median returns the middle of values, or of the two in the middle their mean; NaN if there are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// medianOf is the median over the runs of one of their figures. Runs that don't have it don't count.
func medianOf(runs []run, figure func(result) *float64) *float64 {
	var values []float64
	for _, r := range runs {
		if v := figure(r.Result); v != nil {
			values = append(values, *v)
		}
	}
	if len(values) == 0 {
		return nil
	}
	m := median(values)
	return &m
}

// A row is one contestant at one kind of work: medians over the rounds.
type row struct {
	Work       work
	Contestant string
	Ours       bool
	Floor      bool `json:",omitempty"` // no library
	Rounds     int
	PerSecond  float64
	// Ratio is the median, over the rounds, of this contestant's decisions a second by those of the best peer in the same
	// round. Nil: there is no peer at this work.
	Ratio *float64
	// Busy says that others used more than busyCores in one of the rounds.
	Busy   bool
	Errors int
	Result result // medians, each figure by itself
}

// busyCores is how much of the machine others may use before a run is marked.
const busyCores = 0.3

// rowsOf makes one row of all rounds of each contestant at each work, in the order in which they ran first.
func rowsOf(runs []run) (rows []row) {
	type key struct {
		work       work
		contestant string
	}
	byKey := map[key][]run{}
	var order []key
	for _, r := range runs {
		k := key{r.Job.Work, r.Job.Contestant}
		if byKey[k] == nil {
			order = append(order, k)
		}
		byKey[k] = append(byKey[k], r)
	}
	for _, k := range order {
		rows = append(rows, rowOf(byKey[k]))
	}
	for i := range rows {
		if best := bestPeer(rows, rows[i].Work); best != "" {
			rows[i].Ratio = ratio(byKey[key{rows[i].Work, rows[i].Contestant}], byKey[key{rows[i].Work, best}])
		}
	}
	return rows
}

func rowOf(runs []run) row {
	j := runs[0].Job
	r := row{Work: j.Work, Contestant: j.Contestant, Ours: j.Ours, Floor: j.Floor, Rounds: len(runs)}
	for _, run := range runs {
		r.Busy = r.Busy || run.Result.OtherCPU > busyCores
		r.Errors += run.Result.Errors
	}
	r.Result = medianResult(runs)
	r.PerSecond = r.Result.PerSecond
	return r
}

// medianResult takes the median of each figure by itself.
func medianResult(runs []run) (m result) {
	of := func(figure func(result) float64) float64 {
		return *medianOf(runs, func(r result) *float64 { v := figure(r); return &v })
	}
	m.PerSecond = of(func(r result) float64 { return r.PerSecond })
	m.P50 = of(func(r result) float64 { return r.P50 })
	m.P99 = of(func(r result) float64 { return r.P99 })
	m.P999 = of(func(r result) float64 { return r.P999 })
	m.Max = of(func(r result) float64 { return r.Max })
	m.Allocs = of(func(r result) float64 { return r.Allocs })
	m.Bytes = of(func(r result) float64 { return r.Bytes })
	m.CPU = of(func(r result) float64 { return r.CPU })
	m.OtherCPU = of(func(r result) float64 { return r.OtherCPU })
	m.Before = of(func(r result) float64 { return r.Before })
	m.After = of(func(r result) float64 { return r.After })
	m.Syncs = medianOf(runs, func(r result) *float64 { return r.Syncs })
	m.Messages = medianOf(runs, func(r result) *float64 { return r.Messages })
	m.Memory = medianOf(runs, func(r result) *float64 { return r.Memory })
	m.Changed = medianChanged(runs)
	points := len(curveAt)
	for _, r := range runs {
		points = min(points, len(r.Result.Curve))
	}
	for i := range points {
		m.Curve = append(m.Curve, of(func(r result) float64 { return r.Curve[i] }))
	}
	return m
}

// bestPeer returns the peer with the most decisions a second at w; empty: there is none.
func bestPeer(rows []row, w work) (name string) {
	most := 0.0
	for _, r := range rows {
		if r.Work == w && !r.Ours && !r.Floor && r.PerSecond > most {
			name, most = r.Contestant, r.PerSecond
		}
	}
	return name
}

// ratio is the median over the rounds in which both ran.
func ratio(these, those []run) *float64 {
	var ratios []float64
	for _, a := range these {
		for _, b := range those {
			if a.Round == b.Round && b.Result.PerSecond > 0 {
				ratios = append(ratios, a.Result.PerSecond/b.Result.PerSecond)
			}
		}
	}
	if len(ratios) == 0 {
		return nil
	}
	m := median(ratios)
	return &m
}
