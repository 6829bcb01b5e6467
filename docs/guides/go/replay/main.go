// Reads again from a time: replay TOPIC TIME, for example replay orders 2026-11-22T10:00:00Z
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: replay TOPIC TIME")
	}
	since, err := time.Parse(time.RFC3339, os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	count, err := replay(context.Background(), os.Args[1], since)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d records since %s\n", count, os.Args[2])
}

// Prints what is there from since to the end as it is now; returns how many records that were.
func replay(ctx context.Context, topic string, since time.Time) (int, error) {
	// Without a group: partitions are assigned by hand, and nothing is committed.
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(cmp.Or(os.Getenv("BOOTSTRAP_SERVERS"), "127.0.0.1:9092"), ",")...),
		kgo.KeepControlRecords(), // or the last offset of a partition might never show
	)
	if err != nil {
		return 0, err
	}
	defer client.Close()

	starts, ends, err := bounds(ctx, kadm.NewClient(client), topic, since)
	if err != nil {
		return 0, err
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts})
	count := 0
	for len(ends) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return count, err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			end, reading := ends[record.Partition]
			if !reading {
				return // it came after we asked for the end
			}
			if !record.Attrs.IsControl() {
				count++
				fmt.Printf("%s partition %d, offset %d: %s=%s\n", record.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z"),
					record.Partition, record.Offset, record.Key, record.Value)
			}
			if record.Offset+1 >= end {
				delete(ends, record.Partition)
			}
		})
	}
	return count, nil
}

// Where each partition that holds a record not older than since begins and ends.
func bounds(ctx context.Context, admin *kadm.Client, topic string, since time.Time) (map[int32]kgo.Offset, map[int32]int64, error) {
	first, err := admin.ListOffsetsAfterMilli(ctx, since.UnixMilli(), topic)
	if err := cmp.Or(err, first.Error()); err != nil {
		return nil, nil, err
	}
	last, err := admin.ListEndOffsets(ctx, topic)
	if err := cmp.Or(err, last.Error()); err != nil {
		return nil, nil, err
	}
	starts, ends := map[int32]kgo.Offset{}, map[int32]int64{}
	first.Each(func(start kadm.ListedOffset) {
		// Where no record is that late, the first offset is the end.
		if end, known := last.Lookup(topic, start.Partition); known && start.Offset < end.Offset {
			starts[start.Partition] = kgo.NewOffset().At(start.Offset)
			ends[start.Partition] = end.Offset
		}
	})
	return starts, ends, nil
}
