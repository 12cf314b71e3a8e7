package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0496: "0.050", 0.26: "0.26", 1.34: "1.3", 26.4: "26", 174.2: "174", 999.6: "1,000",
		1234: "1,230", 99_950: "100,000", 1_234_567: "1,230,000"} {
		assert.Equal(t, want, countText(v), v)
	}
	for us, want := range map[float64]string{0.5: "0.50 us", 7.31: "7.3 us", 174: "174 us", 999.4: "999 us", 999.6: "1.0 ms", 12_345: "12 ms",
		999_600: "1.0 s", 2_500_000: "2.5 s"} {
		assert.Equal(t, want, microsText(us), us)
	}
	assert.Equal(t, "1 ms", microsMark(1000))
	assert.Equal(t, "85 ms", millisText(85))
	for n, want := range map[int]string{16: "16 B", 1024: "1 KiB", 1025: "1025 B", 65536: "64 KiB", 1 << 20: "1 MiB"} {
		assert.Equal(t, want, bytesText(n))
	}
	assert.Equal(t, "1,024", exactText(1024))
	assert.Equal(t, "10,000,000", exactText(10_000_000))
	half, little := 0.5, 0.043
	assert.Equal(t, "0.50", ratioText(&half))
	assert.Equal(t, "0.043", ratioText(&little))
	assert.Equal(t, "disk-and-tcp-3-servers-64-b", slug("Disk and TCP, 3 servers, 64 B"))
}

func TestTable(t *testing.T) {
	got := table([][]string{{"who", "what", "n"}, {"a", "–", "1,000"}, {"bcde", "x", "2"}}, 2)
	assert.Equal(t, `
| who  | what |     n |
|------|------|------:|
| a    | –    | 1,000 |
| bcde | x    |     2 |
`, "\n"+got)
}
