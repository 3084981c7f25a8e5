//go:build linux

package host_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/ipcns/ipcns/host"
)

// TestCgroup has the paths that the programs which make them are known for.
func TestCgroup(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for text, want := range map[string]host.Cgroup{
		"":                                 {},
		"0::/\n":                           {},
		"nonsense\n0:\n":                   {},
		"0::/init.scope\n":                 {Unit: "init.scope"},
		"0::/system.slice/nginx.service\n": {Unit: "nginx.service"},
		"0::/system.slice/nginx.service/worker\n":                                                                          {Unit: "nginx.service"},
		"0::/system.slice\n":                                                                                               {Unit: "system.slice"},
		"0::/user.slice/user-1000.slice/app\n":                                                                             {Unit: "user-1000.slice"},
		"0::/kubepods.slice/kubepods-pod8c2b.slice/" + id + "\n":                                                           {"kubernetes:0123456789ab", "kubepods-pod8c2b.slice"},
		"0::/system.slice/" + id + "\n":                                                                                    {Unit: "system.slice"},
		"0::/user.slice/user-1000.slice/user@1000.service/user.slice/crun-" + id + ".scope\n":                              {"crun:0123456789ab", "crun-" + id + ".scope"},
		"0::/system.slice/crun-web.scope/container\n":                                                                      {"crun:web", "crun-web.scope"},
		"0::/system.slice/runc-web.scope\n":                                                                                {"runc:web", "runc-web.scope"},
		"0::/system.slice/crun-.scope\n":                                                                                   {Unit: "crun-.scope"},
		"0::/machine.slice/libpod-conmon-" + id + ".scope\n":                                                               {Unit: "libpod-conmon-" + id + ".scope"},
		`0::/system.slice/a\x2db@1.service` + "\n":                                                                         {Unit: `a\x2db@1.service`},
		`0::/system.slice/a\xzz\x2.service` + "\n":                                                                         {Unit: `a\xzz\x2.service`},
		"0::/user.slice/user-1000.slice/session-3.scope\n":                                                                 {Unit: "session-3.scope"},
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-foo.scope\n":                                       {Unit: "app-foo.scope"},
		"0::/user.slice/user-1000.slice/user@1000.service/init.scope\n":                                                    {Unit: "init.scope"},
		"0::/system.slice/docker-" + id + ".scope\n":                                                                       {"docker:0123456789ab", "docker-" + id + ".scope"},
		"0::/system.slice/docker-" + id[1:] + ".scope\n":                                                                   {Unit: "docker-" + id[1:] + ".scope"},
		"0::/system.slice/docker-" + id + ".scope/system.slice/cron.service\n":                                             {"docker:0123456789ab", "cron.service"},
		"0::/docker/" + id + "\n":                                                                                          {Container: "docker:0123456789ab"},
		"0::/docker/buildx\n":                                                                                              {},
		"0::/machine.slice/libpod-" + id + ".scope/container\n":                                                            {"podman:0123456789ab", "libpod-" + id + ".scope"},
		"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope\n":                            {"podman:0123456789ab", "libpod-" + id + ".scope"},
		"0::/libpod_parent/libpod-" + id + "\n":                                                                            {Container: "podman:0123456789ab"},
		"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/crio-" + id + ".scope\n":                {"crio:0123456789ab", "crio-" + id + ".scope"},
		"0::/kubepods.slice/kubepods-podx.slice/cri-containerd-" + id + ".scope\n":                                         {"containerd:0123456789ab", "cri-containerd-" + id + ".scope"},
		"0::/system.slice/nerdctl-" + id + ".scope\n":                                                                      {"containerd:0123456789ab", "nerdctl-" + id + ".scope"},
		"0::/kubepods/burstable/pod8c2b/" + id + "\n":                                                                      {Container: "kubernetes:0123456789ab"},
		"0::/other/" + id + "\n":                                                                                           {},
		"0::/lxc.payload.web\n":                                                                                            {Container: "lxc:web"},
		"0::/lxc.payload.web/system.slice/ssh.service\n":                                                                   {"lxc:web", "ssh.service"},
		"0::/lxc.payload/web\n":                                                                                            {Container: "lxc:web"},
		`0::/machine.slice/machine-a\x2db.scope/payload` + "\n":                                                            {"machine:a-b", `machine-a\x2db.scope`},
		`0::/machine.slice/machine-\xzz\x2.scope` + "\n":                                                                   {`machine:\xzz\x2`, `machine-\xzz\x2.scope`},
		"0::/machine.slice/systemd-nspawn@box.service/payload\n":                                                           {"machine:box", "systemd-nspawn@box.service"},
		"9:name=systemd:/system.slice/a.service\n4:memory:/docker/" + id + "\n":                                            {"docker:0123456789ab", "a.service"},
		"12:devices:/lxc/web\n1:name=systemd:/lxc/web/init.scope\n0::/\n":                                                  {"lxc:web", "init.scope"},
		"4:memory:/system.slice/not-systemds.service\n2:cpu:/\n":                                                           {},
		"5:cpu,cpuacct:/a:b\n1:name=systemd:/user.slice/user-0.slice/session-c1.scope\n0::/user.slice/session-c1.scope:\n": {Unit: "user.slice"},
	} {
		proc := newProc(t, map[string]string{"7/cgroup": text})
		if got, err := proc.Cgroup(7); got != want || err != nil {
			t.Errorf("%s\n got %+v, %v\nwant %+v", text, got, err, want)
		}
	}
	if _, err := newProc(t, nil).Cgroup(7); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for no process", err)
	}
}

func TestCgroupAsText(t *testing.T) {
	for want, c := range map[string]host.Cgroup{
		"docker:1": {"docker:1", "docker-1.scope"},
		"a.scope":  {Unit: "a.scope"},
		"":         {},
	} {
		if got := c.String(); got != want {
			t.Errorf("%+v is %q, want %q", c, got, want)
		}
	}
}
