// Package main runs one Go client of Kafka: franz, sarama or kafka-go. After its name come the broker's address, a prefix
// for names and the features wanted.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

const (
	partitions = 3
	count      = 300
)

var (
	addresses []string
	prefix    string
)

type failure struct{ error }

func check(ok bool, format string, args ...any) {
	if !ok {
		panic(failure{fmt.Errorf(format, args...)})
	}
}

func must(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func get[T any](v T, err error) T {
	must(err)
	return v
}

func until(what string, condition func() bool) {
	end := time.Now().Add(40 * time.Second)
	for !condition() {
		check(time.Now().Before(end), "not within 40 s: %s", what)
		time.Sleep(20 * time.Millisecond)
	}
}

// What a member of a group has now.
type has struct {
	sync.Mutex
	parts map[int32]bool
}

func (h *has) set(list []int32, on bool) {
	h.Lock()
	defer h.Unlock()
	if h.parts == nil {
		h.parts = map[int32]bool{}
	}
	for _, p := range list {
		if on {
			h.parts[p] = true
		} else {
			delete(h.parts, p)
		}
	}
}

func (h *has) replace(list []int32) {
	h.Lock()
	h.parts = nil
	h.Unlock()
	h.set(list, true)
}

func (h *has) list() []int32 {
	h.Lock()
	defer h.Unlock()
	var l []int32
	for p := range h.parts {
		l = append(l, p)
	}
	return l
}

// Every partition has one owner, and every member has some.
func split(members ...*has) bool {
	var all []int32
	for _, m := range members {
		l := m.list()
		if len(l) == 0 {
			return false
		}
		all = append(all, l...)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	return len(all) == partitions && all[0] == 0 && all[1] == 1 && all[2] == 2
}

func value(i int) string { return strings.Repeat(fmt.Sprintf("v%d ", i), 20) }
func key(i int) string   { return fmt.Sprintf("k%d", i) }

func feature(name string, f func()) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			f, is := r.(failure)
			if !is {
				panic(r)
			}
			fmt.Printf("failed %s: %v\n", name, f.error)
		}
	}()
	check(f != nil, "no such feature")
	f()
	fmt.Printf("ok %s\n", name)
	return true
}

func main() {
	clients := map[string]map[string]func(){"franz": franz, "sarama": saramaClient, "kafka-go": kafkaGo}
	addresses, prefix = strings.Split(os.Args[2], ","), os.Args[3]
	status := 0
	for _, name := range strings.Split(os.Args[4], ",") {
		if !feature(name, clients[os.Args[1]][name]) {
			status = 1
		}
	}
	os.Exit(status)
}
