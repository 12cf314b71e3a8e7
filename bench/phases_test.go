package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// ms makes moments of milliseconds.
func ms(all ...int) (moments []time.Duration) {
	for _, n := range all {
		moments = append(moments, time.Duration(n)*time.Millisecond)
	}
	return moments
}

// threePhases begin at 100, 200 and 300 ms, and end at 400 ms.
var threePhases = cuts(ms(100, 200, 300, 400))

func TestPauses(t *testing.T) {
	for name, test := range map[string]struct {
		ends    []int
		longest []int
		calls   [phaseCount]int
	}{
		"a steady caller": {[]int{90, 110, 130, 150, 170, 190, 210, 230, 250, 270, 290, 310, 330, 350, 370, 390, 410},
			[]int{20, 20, 20}, [phaseCount]int{5, 5, 5}},
		"one that never ends":                        {nil, []int{0, 300, 300}, [phaseCount]int{}},
		"calls outside don't count":                  {[]int{10, 99, 400, 500}, []int{0, 300, 300}, [phaseCount]int{}},
		"the first begins with the phase":            {[]int{60, 180, 200, 250, 300, 360}, []int{80, 50, 60}, [phaseCount]int{1, 2, 2}},
		"one that begins before the change":          {[]int{120, 130, 290, 300, 390}, []int{20, 160, 90}, [phaseCount]int{2, 1, 2}},
		"one that begins in the change":              {[]int{190, 210, 370, 380}, []int{90, 160, 160}, [phaseCount]int{1, 1, 2}},
		"one over the change":                        {[]int{150, 199, 350}, []int{50, 151, 151}, [phaseCount]int{2, 0, 1}},
		"one that is over when the change begins":    {[]int{199, 201, 221, 299, 301, 390}, []int{99, 78, 89}, [phaseCount]int{1, 3, 2}},
		"one that begins when the change is over":    {[]int{180, 220, 260, 300, 399}, []int{80, 40, 99}, [phaseCount]int{1, 2, 2}},
		"the last lasts until the end of all phases": {[]int{150, 200, 250, 300, 310}, []int{50, 50, 90}, [phaseCount]int{1, 2, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			longest, calls := pausesOf(ms(test.ends...), threePhases)
			assert.Equal(t, ms(test.longest...), longest[:])
			assert.Equal(t, test.calls, calls)
		})
	}
}

func TestPhases(t *testing.T) {
	steady := ms(110, 130, 150, 170, 190, 210, 230, 250, 270, 290, 310, 330, 350, 370, 390)
	slow := ms(150, 190, 290, 340, 390)
	slower := ms(180, 195, 360)
	p := phasesOf([][]time.Duration{steady, slower, slow}, threePhases)
	assert.Equal(t, phase{Seconds: 0.1, PerSecond: 90, Worst: 80, Middle: 50}, p[phaseBefore])
	assert.Equal(t, phase{Seconds: 0.1, PerSecond: 60, Worst: 165, Middle: 100}, p[phaseDuring])
	assert.Equal(t, phase{Seconds: 0.1, PerSecond: 80, Worst: 165, Middle: 50}, p[phaseAfter])

	p = phasesOf([][]time.Duration{steady}, cuts(ms(100, 200, 200, 400)))
	assert.Zero(t, p[phaseDuring].PerSecond, "a change that took no time")
	assert.Equal(t, 20.0, p[phaseDuring].Worst)
}
