// Consumes in a group: consume TOPIC GROUP [COUNT]. Ends after COUNT records, or with Ctrl-C.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kgo"
)

// At most so many records between two commits.
const batch = 500

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("usage: consume TOPIC GROUP [COUNT]")
	}
	count := math.MaxInt
	if len(os.Args) > 3 {
		var err error
		if count, err = strconv.Atoi(os.Args[3]); err != nil {
			log.Fatal(err)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := consume(ctx, os.Args[1], os.Args[2], count); err != nil {
		log.Fatal(err)
	}
}

func consume(ctx context.Context, topic, group string, count int) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(cmp.Or(os.Getenv("BOOTSTRAP_SERVERS"), "127.0.0.1:9092"), ",")...),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // where a group begins that has committed nothing
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // nobody else gets our partitions between a poll and its commit
	)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance() // leaves the group: others take over at once

	for count > 0 {
		fetches := client.PollRecords(ctx, min(count, batch))
		if ctx.Err() != nil {
			return nil // Ctrl-C: what was not committed comes again
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			fmt.Printf("partition %d, offset %d: %s=%s\n", record.Partition, record.Offset, record.Key, record.Value)
		})
		if err := client.CommitRecords(context.WithoutCancel(ctx), fetches.Records()...); err != nil {
			return err
		}
		count -= fetches.NumRecords()
		client.AllowRebalance()
	}
	return nil
}
