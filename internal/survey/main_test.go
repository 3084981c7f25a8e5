//go:build linux

package survey_test

import (
	"testing"

	"github.com/ipcns/ipcns/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
