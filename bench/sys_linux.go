package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// cpuTimes are CPU seconds: of the whole machine, and of this process.
type cpuTimes struct{ busy, own float64 }

// readCPU counts what the hypervisor took as used by others, and leaves out interrupts, of which nobody says whose they are:
// most are ours.
func readCPU() (t cpuTimes) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return t
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for i, s := range strings.Fields(line) {
		switch i {
		case 1, 2, 3, 8: // user, nice, system, steal, in hundredths
			v, _ := strconv.ParseFloat(s, 64)
			t.busy += v / 100
		}
	}
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil {
		t.own = float64(r.Utime.Sec+r.Stime.Sec) + float64(r.Utime.Usec+r.Stime.Usec)/1e6
	}
	return t
}

// settle waits until the disk has nothing to do any more.
func settle() { syscall.Sync() }

// reserved makes a file with room for n bytes, as far as the file system can. A direct one is written around the page cache.
func reserved(name string, n int64, direct bool) (*os.File, error) {
	flag := os.O_CREATE | os.O_EXCL | os.O_WRONLY
	if direct {
		flag |= syscall.O_DIRECT
	}
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, n); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	return f, nil
}

func datasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// machineFacts returns the processor, the kernel and the file system, in this order. Unknown ones are left out.
func machineFacts(dir string) (facts []string) {
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, after, ok := strings.Cut(string(b), "model name"); ok {
			name, _, _ := strings.Cut(strings.TrimLeft(after, "\t :"), "\n")
			facts = append(facts, strings.Join(strings.Fields(name), " "))
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		release, _, _ := strings.Cut(strings.TrimSpace(string(b)), "-")
		facts = append(facts, "Linux "+release)
	}
	var fs syscall.Statfs_t
	if syscall.Statfs(dir, &fs) == nil {
		facts = append(facts, fileSystem(int64(fs.Type)))
	}
	return facts
}

func fileSystem(magic int64) string {
	names := map[int64]string{0xEF53: "ext4", 0x58465342: "xfs", 0x9123683E: "btrfs", 0x2FC12FC1: "zfs", 0x794C7630: "overlayfs",
		0x01021994: "tmpfs (fsync costs nothing there: no figure on disk means anything)"}
	if name, ok := names[magic&0xFFFFFFFF]; ok {
		return name
	}
	return "file system 0x" + strconv.FormatInt(magic&0xFFFFFFFF, 16)
}
