// Takes jobs from a queue in a share group: work TOPIC GROUP [COUNT]. Ends when COUNT jobs are settled, or with Ctrl-C.
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

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// A job that failed so often is given up.
	deliveriesMax = 3
	// At most so many jobs between two commits.
	batch = 100
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("usage: work TOPIC GROUP [COUNT]")
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
	if err := work(ctx, os.Args[1], os.Args[2], count); err != nil {
		log.Fatal(err)
	}
}

func work(ctx context.Context, topic, group string, count int) error {
	servers := kgo.SeedBrokers(strings.Split(cmp.Or(os.Getenv("BOOTSTRAP_SERVERS"), "127.0.0.1:9092"), ",")...)
	if err := takeAllThatIsThere(ctx, servers, group); err != nil {
		return err
	}
	client, err := kgo.NewClient(
		servers,
		kgo.ShareGroup(group),
		kgo.ConsumeTopics(topic),
		// What came too late is told here only: another may be at that job by now.
		kgo.ShareAckCallback(func(_ *kgo.Client, results kgo.ShareAckResults) {
			if err := results.Error(); err != nil {
				log.Print(err)
			}
		}),
	)
	if err != nil {
		return err
	}
	defer client.Close() // hands back what is not settled: others get it at once

	for count > 0 {
		fetches := client.PollRecords(ctx, batch)
		if ctx.Err() != nil {
			return nil // Ctrl-C
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(job *kgo.Record) {
			outcome := attempt(job)
			job.Ack(outcome)
			if outcome != kgo.AckRelease {
				count--
			}
		})
		if err := client.FlushAcks(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// attempt does a job. What cannot be done stands for work that fails.
func attempt(job *kgo.Record) kgo.AckStatus {
	outcome, said := kgo.AckAccept, "done"
	if string(job.Value) == "impossible" {
		outcome, said = kgo.AckRelease, "failed, to be tried again"
		if job.DeliveryCount() >= deliveriesMax {
			outcome, said = kgo.AckReject, "failed, given up"
		}
	}
	fmt.Printf("partition %d, offset %d, delivery %d: %s=%s %s\n", job.Partition, job.Offset, job.DeliveryCount(), job.Key, job.Value, said)
	return outcome
}

// takeAllThatIsThere: a group begins with what comes after it. This one also takes what is there already; the broker keeps that for
// the group. The admin client, kadm, has no call for settings of groups yet.
func takeAllThatIsThere(ctx context.Context, servers kgo.Opt, group string) error {
	client, err := kgo.NewClient(servers)
	if err != nil {
		return err
	}
	defer client.Close()
	earliest := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	earliest.Name, earliest.Op, earliest.Value = "share.auto.offset.reset", kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr("earliest")
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	resource.Configs = append(resource.Configs, earliest)
	request := kmsg.NewIncrementalAlterConfigsRequest()
	request.Resources = append(request.Resources, resource)
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, altered := range response.Resources {
		if err := kerr.ErrorForCode(altered.ErrorCode); err != nil {
			return err
		}
	}
	return nil
}
