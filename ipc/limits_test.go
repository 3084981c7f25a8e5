package ipc_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/ipcns/ipcns/ipc"
)

func TestParseLimits(t *testing.T) {
	for text, want := range map[string]string{
		"msgmnb=65536":                "msgmnb=65536",
		"msgmnb=0":                    "msgmnb=0",
		"msgmnb=1k":                   "msgmnb=1024",
		"msgmnb=1K":                   "msgmnb=1024",
		"msgmnb=3m":                   "msgmnb=3145728",
		"shmmax=1g":                   "shmmax=1073741824",
		"shmmax=1G":                   "shmmax=1073741824",
		"shmmax=18446744073709551615": "shmmax=18446744073709551615",
		"shmmax=17179869183g":         "shmmax=18446744072635809792", // the most of them that 64 bits hold
		"semmsl=1,shmmni=2":           "semmsl=1 shmmni=2",

		// They are set one after the other, so the last one counts.
		"msgmax=1,msgmni=2,msgmax=3": "msgmax=1 msgmni=2 msgmax=3",

		// Only the kernel knows what it takes.
		"shm_rmid_forced=2": "shm_rmid_forced=2",
		"msg_max=0":         "msg_max=0",

		"shmmax=17179869184g": "limit shmmax: 17179869184g is more than 64 bits hold",

		"msgmax":           "limit msgmax has no value; write msgmax=NUMBER",
		"msgmax=":          `limit msgmax: "" is not a number; sizes end in k, m or g`,
		"semmsl=1,msgmax=": `limit msgmax: "" is not a number; sizes end in k, m or g`,
		"msgmax=k":         `limit msgmax: "k" is not a number; sizes end in k, m or g`,
		"msgmax=1kk":       `limit msgmax: "1kk" is not a number; sizes end in k, m or g`,
		"msgmax=1km":       `limit msgmax: "1km" is not a number; sizes end in k, m or g`,
		"msgmax=1t":        `limit msgmax: "1t" is not a number; sizes end in k, m or g`,
		"msgmax=1kib":      `limit msgmax: "1kib" is not a number; sizes end in k, m or g`,
		"msgmax=-1":        `limit msgmax: "-1" is not a number; sizes end in k, m or g`,
		"msgmax=+1":        `limit msgmax: "+1" is not a number; sizes end in k, m or g`,
		"msgmax= 1":        `limit msgmax: " 1" is not a number; sizes end in k, m or g`,
		"msgmax=1_000":     `limit msgmax: "1_000" is not a number; sizes end in k, m or g`,
		"msgmax=0x10":      `limit msgmax: "0x10" is not a number; sizes end in k, m or g`,
		"msgmax=1.5k":      `limit msgmax: "1.5k" is not a number; sizes end in k, m or g`,
		"msgmax=1=2":       `limit msgmax: "1=2" is not a number; sizes end in k, m or g`,
		"msgmax=1 msg=2":   `limit msgmax: "1 msg=2" is not a number; sizes end in k, m or g`,

		"":          `unknown limit ""; ` + theLimits,
		"msgmax=1,": `unknown limit ""; ` + theLimits,
		",msgmax=1": `unknown limit ""; ` + theLimits,
		"sem=1":     `unknown limit "sem"; ` + theLimits,
		"MSGMAX=1":  `unknown limit "MSGMAX"; ` + theLimits,
		" msgmax=1": `unknown limit " msgmax"; ` + theLimits,
	} {
		settings, err := ipc.ParseLimits(text)
		var got []string
		for _, setting := range settings {
			got = append(got, fmt.Sprintf("%s=%d", setting.Name, setting.Value))
		}
		if err != nil {
			got = append(got, err.Error())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q\n got %s\nwant %s", text, strings.Join(got, " "), want)
		}
	}
}

const theLimits = "the limits are msgmax, msgmnb, msgmni, semmsl, semmns, semopm, semmni, shmmax, shmall, shmmni, shm_rmid_forced, queues_max, msg_max, msgsize_max, msg_default, msgsize_default"

func TestEachLimitHasAPlaceOfItsOwn(t *testing.T) {
	var limits ipc.Limits
	for i, limit := range ipc.AllLimits {
		*limit.Of(&limits) = uint64(i) + 1
	}
	want := ipc.Limits{
		Msgmax: 1, Msgmnb: 2, Msgmni: 3,
		Semmsl: 4, Semmns: 5, Semopm: 6, Semmni: 7,
		Shmmax: 8, Shmall: 9, Shmmni: 10, ShmRmidForced: 11,
		QueuesMax: 12, MsgMax: 13, MsgsizeMax: 14, MsgDefault: 15, MsgsizeDefault: 16,
	}
	if limits != want {
		t.Errorf("got  %+v\nwant %+v", limits, want)
	}
}

func TestLimitByName(t *testing.T) {
	for _, want := range ipc.AllLimits {
		got, err := ipc.LimitByName(want.Name)
		if err != nil || got.Name != want.Name || got.Bounds != want.Bounds {
			t.Errorf("%s: got %s (%s), error %v", want.Name, got.Name, got.Bounds, err)
		}
	}
	if _, err := ipc.LimitByName("shmseg"); err == nil {
		t.Error("shmseg: no error")
	}
}

// TestKeyLooksAsInIpcs has the keys as ipcs(1) prints them.
func TestKeyLooksAsInIpcs(t *testing.T) {
	for key, want := range map[ipc.Key]string{
		ipc.Private:   "0x00000000",
		1:             "0x00000001",
		0x51494e54:    "0x51494e54",
		-1:            "0xffffffff",
		math.MinInt32: "0x80000000",
	} {
		if got := key.String(); got != want {
			t.Errorf("%d: got %s, want %s", int32(key), got, want)
		}
	}
}
