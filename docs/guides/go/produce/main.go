// Produces records: produce TOPIC KEY=VALUE...
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("usage: produce TOPIC KEY=VALUE...")
	}
	if err := produce(os.Args[1], os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

func produce(topic string, pairs []string) error {
	// acks=all and idempotence, by which a retry neither repeats nor reorders, are this client's defaults.
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(cmp.Or(os.Getenv("BOOTSTRAP_SERVERS"), "127.0.0.1:9092"), ",")...),
		kgo.DefaultProduceTopic(topic),
		kgo.AllowAutoTopicCreation(),
	)
	if err != nil {
		return err
	}
	defer client.Close()

	var records []*kgo.Record
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if !found {
			return fmt.Errorf("a record is KEY=VALUE, not %q", pair)
		}
		records = append(records, &kgo.Record{Key: []byte(key), Value: []byte(value)})
	}
	// Returns when every record is stored, or has failed for good.
	var failed error
	for _, result := range client.ProduceSync(context.Background(), records...) {
		record := result.Record
		if result.Err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s=%s: %w", record.Key, record.Value, result.Err))
			continue
		}
		fmt.Printf("%s=%s -> partition %d, offset %d\n", record.Key, record.Value, record.Partition, record.Offset)
	}
	return failed
}
