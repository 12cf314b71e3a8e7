// Package browsertest tests the page of package paxosweb in a real Chromium. It is a module of its own, because it drives the browser
// by a library. Without a browser its tests fail: on Debian, apt-get install chromium brings one.
package browsertest
