//go:build linux

package programs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
)

// The source of the Open POSIX Test Suite as Debian has it, whose binary
// package holds no tests.
const (
	suitePool   = "pool/main/p/posixtestsuite/"
	suiteFile   = "posixtestsuite_1.5.2.orig.tar.gz"
	suiteSHA256 = "15a2185672127cba851d35ec9d538ff6148defdbb75f99c7e9c50aeba0f94757"
)

// suiteSource returns the source from the user's cache, where it puts it first
// if need be. It skips the test where there is none to be had.
func suiteSource(t *testing.T) []byte {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip("no place for the source of the suite: ", err)
	}
	file := filepath.Join(cache, "ipcns", suiteFile)
	if source, err := os.ReadFile(file); err == nil && isSuite(source) {
		return source
	}
	source, err := downloaded(t)
	if err != nil {
		t.Skip("the source of Debian's posixtestsuite cannot be fetched: ", err)
	}
	if err := keep(file, source); err != nil {
		t.Log("the source of the suite will be fetched again: ", err)
	}
	return source
}

func isSuite(source []byte) bool {
	sum := sha256.Sum256(source)
	return hex.EncodeToString(sum[:]) == suiteSHA256
}

// keep writes a file at once, as another run of the tests may do the same.
func keep(file string, content []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "new")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // which fails if it has got its name
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// downloaded fetches the source from a mirror of Debian that apt uses on this
// machine. The lists of source packages, which would name it, are ten times as
// large, and apt has none of them.
func downloaded(t *testing.T) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	uris, err := exec.CommandContext(ctx, "apt-get", "update", "--print-uris").Output()
	if err != nil {
		return nil, fmt.Errorf("apt-get update --print-uris: %w", err)
	}
	file := filepath.Join(t.TempDir(), suiteFile)
	reason := errors.New("apt has no mirror")
	for _, mirror := range mirrors(string(uris)) {
		output, err := exec.CommandContext(ctx, "/usr/lib/apt/apt-helper",
			"-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::https::Timeout=10",
			"download-file", mirror+suitePool+suiteFile, file, "SHA256:"+suiteSHA256).CombinedOutput()
		if err == nil {
			return os.ReadFile(file)
		}
		lines := strings.Split(strings.TrimSpace(string(output)), "\n")
		reason = fmt.Errorf("apt-helper: %w: %s", err, lines[len(lines)-1])
	}
	return nil, reason
}

var inMirror = regexp.MustCompile(`(?m)^'(https?://[^']*/)dists/`)

// mirrors returns the mirrors that what apt would fetch is on, each once.
func mirrors(uris string) (found []string) {
	seen := map[string]bool{}
	for _, match := range inMirror.FindAllStringSubmatch(uris, -1) {
		if mirror := match[1]; !seen[mirror] {
			seen[mirror] = true
			found = append(found, mirror)
		}
	}
	return found
}

// A suiteTest is one program of the suite.
type suiteTest struct{ name, program string }

// buildSuite compiles the tests of message queues. It skips the test where
// there is no C compiler.
func buildSuite(t *testing.T, source []byte) (tests []suiteTest) {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("gcc is not installed")
	}
	dir := t.TempDir()
	files := unpack(t, source, dir)
	if output, err := exec.Command("gcc", "-fsyntax-only", "-include", "mqueue.h", "-x", "c", "/dev/null").CombinedOutput(); err != nil {
		t.Skipf("gcc has no headers of the C library: %s", output)
	}
	compilers := make(chan struct{}, runtime.NumCPU())
	var running sync.WaitGroup
	for _, file := range files {
		test := suiteTest{strings.TrimSuffix(file, ".c"), filepath.Join(dir, strings.TrimSuffix(file, ".c"))}
		tests = append(tests, test)
		running.Go(func() {
			compilers <- struct{}{}
			defer func() { <-compilers }()
			// The dialect is that of its time: later ones refuse calls that no header declares.
			cmd := exec.Command("gcc", "-std=gnu89", "-w", "-D_GNU_SOURCE", "-I"+filepath.Join(dir, "include"), "-o", test.program, filepath.Join(dir, file), "-lpthread", "-lrt")
			if output, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", file, err, output)
			}
		})
	}
	running.Wait()
	return tests
}

// inSuite finds what is built: not what is only compiled, nor what tests what
// POSIX leaves open, in directories below.
var inSuite = regexp.MustCompile(`^posixtestsuite/(?:(include/posixtest\.h)|conformance/interfaces/(mq_[a-z]+/\d+-\d+\.c))$`)

// unpack writes what is built, and returns the tests.
func unpack(t *testing.T, source []byte, dir string) (tests []string) {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(source))
	ipctest.Must(t, err)
	archive := tar.NewReader(unzipped)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return tests
		}
		ipctest.Must(t, err)
		match := inSuite.FindStringSubmatch(path.Clean(header.Name))
		if match == nil {
			continue
		}
		content, err := io.ReadAll(archive)
		ipctest.Must(t, err)
		file := match[1] + match[2] // one of them is empty
		ipctest.Must(t, os.MkdirAll(filepath.Join(dir, path.Dir(file)), 0o755))
		ipctest.Must(t, os.WriteFile(filepath.Join(dir, file), content, 0o644))
		if match[2] != "" {
			tests = append(tests, file)
		}
	}
}
