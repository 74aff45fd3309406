//! Aggregates of values that are ordered by keys: the least and the greatest in a window, and arrays of what is distinct.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
    mem::size_of,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray},
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue, plan_err, utils::SingleRowListArrayBuilder},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
};

/// What is made of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Gives {
    /// The one with the least key.
    Least,
    /// The one with the greatest key.
    Greatest,
    /// All that are distinct, in the order of their keys.
    Array { descends: bool, nulls_first: bool },
}

/// A function of a key and a value.
pub(super) fn keyed(gives: Gives) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Keyed { gives, signature: Signature::any(2, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Keyed {
    gives: Gives,
    signature: Signature,
}

impl AggregateUDFImpl for Keyed {
    fn name(&self) -> &str {
        match self.gives {
            Gives::Least => "pilaster_least",
            Gives::Greatest => "pilaster_greatest",
            Gives::Array { .. } => "pilaster_distinct",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, value] => Ok(match self.gives {
                Gives::Array { .. } => DataType::List(Arc::new(Field::new_list_field(value.clone(), true))),
                _ => value.clone(),
            }),
            _ => plan_err!("{} takes a key and a value", self.name()),
        }
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        let [_, value] = fields else { return plan_err!("{} takes a key and a value", self.name()) };
        let value = value.as_ref().clone().with_nullable(true);
        Ok(Arc::new(match self.gives {
            Gives::Array { .. } => {
                Field::new(self.name(), DataType::List(Arc::new(value.with_name(Field::LIST_FIELD_DEFAULT_NAME))), true)
            }
            _ => value.with_name(self.name()),
        }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let part = |name: &str, field: &FieldRef| {
            let item = Arc::new(Field::new_list_field(field.data_type().clone(), true));
            Arc::new(Field::new(format_state_name(arguments.name, name), DataType::List(item), true)) as FieldRef
        };
        match arguments.input_fields {
            [key, value] => Ok(vec![part("keys", key), part("values", value)]),
            _ => plan_err!("{} takes a key and a value", self.name()),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let [key, value] = arguments.expr_fields else { return plan_err!("{} takes a key and a value", self.name()) };
        Ok(Box::new(All {
            gives: self.gives,
            key: key.data_type().clone(),
            value: value.data_type().clone(),
            result: arguments.return_field.data_type().clone(),
            all: BTreeMap::new(),
            null: None,
        }))
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let [_, value] = arguments.expr_fields else { return plan_err!("{} takes a key and a value", self.name()) };
        let none = ScalarValue::try_from(value.data_type())?;
        match self.gives {
            Gives::Array { .. } => self.accumulator(arguments),
            gives => Ok(Box::new(Moving { gives, none, best: VecDeque::new(), added: 0, removed: 0 })),
        }
    }
}

/// A key, which is never NULL, in its order.
#[derive(Clone, Debug, PartialEq)]
struct Key(ScalarValue);

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal)
    }
}

/// What there is, by key; for an extreme only that.
#[derive(Debug)]
struct All {
    gives: Gives,
    key: DataType,
    value: DataType,
    result: DataType,
    all: BTreeMap<Key, ScalarValue>,
    null: Option<ScalarValue>,
}

impl All {
    fn add(&mut self, keys: &ArrayRef, values: &ArrayRef) -> Result<()> {
        for row in 0..keys.len() {
            if keys.is_null(row) {
                if matches!(self.gives, Gives::Array { .. }) && self.null.is_none() {
                    self.null = Some(ScalarValue::try_from_array(values, row)?);
                }
                continue;
            }
            let key = Key(ScalarValue::try_from_array(keys, row)?);
            let is_better = match self.gives {
                Gives::Least => self.all.first_key_value().is_none_or(|(best, _)| key < *best),
                Gives::Greatest => self.all.first_key_value().is_none_or(|(best, _)| key > *best),
                Gives::Array { .. } => !self.all.contains_key(&key),
            };
            if is_better {
                if !matches!(self.gives, Gives::Array { .. }) {
                    self.all.clear();
                }
                self.all.insert(key, ScalarValue::try_from_array(values, row)?);
            }
        }
        Ok(())
    }

    fn list(values: impl Iterator<Item = ScalarValue>, data_type: &DataType) -> Result<ScalarValue> {
        let values: Vec<ScalarValue> = values.collect();
        let array = match values.is_empty() {
            true => arrow::array::new_empty_array(data_type),
            false => ScalarValue::iter_to_array(values)?,
        };
        Ok(SingleRowListArrayBuilder::new(array).build_list_scalar())
    }
}

impl Accumulator for All {
    fn update_batch(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        match arguments {
            [keys, values] => self.add(keys, values),
            _ => plan_err!("a key and a value are taken"),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [keys, values] = states else { return plan_err!("two states are merged") };
        let (keys, values) = (keys.as_list::<i32>(), values.as_list::<i32>());
        for row in 0..keys.len() {
            self.add(&keys.value(row), &values.value(row))?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Gives::Array { descends, nulls_first } = self.gives else {
            return match self.all.first_key_value() {
                Some((_, value)) => Ok(value.clone()),
                None => ScalarValue::try_from(&self.value),
            };
        };
        if self.all.is_empty() && self.null.is_none() {
            return ScalarValue::try_from(&self.result);
        }
        let mut values: Vec<ScalarValue> = self.all.values().cloned().collect();
        if descends {
            values.reverse();
        }
        if let Some(null) = &self.null {
            values.insert(if nulls_first { 0 } else { values.len() }, null.clone());
        }
        let array = ScalarValue::iter_to_array(values)?;
        // The elements' field says what their type is called.
        Ok(match &self.result {
            DataType::List(field) => {
                let offsets = OffsetBuffer::from_lengths([array.len()]);
                ScalarValue::List(Arc::new(ListArray::try_new(Arc::clone(field), offsets, array, None)?))
            }
            _ => SingleRowListArrayBuilder::new(array).build_list_scalar(),
        })
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let null = self.null.iter().map(|_| ScalarValue::try_from(&self.key)).collect::<Result<Vec<_>>>()?;
        let keys = self.all.keys().map(|key| key.0.clone()).chain(null);
        let keys = Self::list(keys, &self.key)?;
        let values = Self::list(self.all.values().chain(&self.null).cloned(), &self.value)?;
        Ok(vec![keys, values])
    }

    fn size(&self) -> usize {
        let entries = self.all.iter().map(|(key, value)| key.0.size() + value.size()).sum::<usize>();
        size_of::<Self>() + entries
    }
}

/// The extreme of a window that moves: what can still become it, best first.
#[derive(Debug)]
struct Moving {
    gives: Gives,
    none: ScalarValue,
    best: VecDeque<(u64, Key, ScalarValue)>,
    added: u64,
    removed: u64,
}

impl Accumulator for Moving {
    fn update_batch(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        let [keys, values] = arguments else { return plan_err!("a key and a value are taken") };
        for row in 0..keys.len() {
            self.added += 1;
            if keys.is_null(row) {
                continue;
            }
            let key = Key(ScalarValue::try_from_array(keys, row)?);
            // Of two that are equal Postgres takes the later.
            let loses = |other: &Key| if self.gives == Gives::Least { key <= *other } else { key >= *other };
            while self.best.back().is_some_and(|(_, other, _)| loses(other)) {
                self.best.pop_back();
            }
            self.best.push_back((self.added, key, ScalarValue::try_from_array(values, row)?));
        }
        Ok(())
    }

    fn retract_batch(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        let count = arguments.first().map_or(0, Array::len);
        self.removed += u64::try_from(count).unwrap_or(u64::MAX);
        while self.best.front().is_some_and(|(place, ..)| *place <= self.removed) {
            self.best.pop_front();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.best.front().map_or_else(|| self.none.clone(), |(_, _, value)| value.clone()))
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        plan_err!("a window is not merged")
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        plan_err!("a window has no state")
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.best.iter().map(|(_, key, value)| key.0.size() + value.size()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;

    use super::*;

    #[test]
    fn windows_move() {
        let array = |values: &[Option<i32>]| Arc::new(Int32Array::from(values.to_vec())) as ArrayRef;
        let mut least =
            Moving { gives: Gives::Least, none: ScalarValue::Int32(None), best: VecDeque::new(), added: 0, removed: 0 };
        let mut check = |add: &[Option<i32>], remove: usize, expect: Option<i32>| {
            least.update_batch(&[array(add), array(add)]).unwrap();
            let gone = array(&vec![None; remove]);
            least.retract_batch(&[Arc::clone(&gone), gone]).unwrap();
            assert_eq!(least.evaluate().unwrap(), ScalarValue::Int32(expect));
        };
        check(&[Some(3), Some(1)], 0, Some(1));
        check(&[Some(2), None], 1, Some(1));
        check(&[], 1, Some(2));
        check(&[], 1, None);
        check(&[Some(5)], 1, Some(5));
    }
}
